"""Progress of a training run: epoch and step, history, best epoch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from pipeline.core.errors import TrainingError, plural

Row = dict[str, float]

LOWER_IS_BETTER = {"val_loss": True, "val_dice": False, "val_mae": True, "val_max_f": False}
"""Columns that can be monitored."""


@dataclass
class Progress:
    """Position and results of a training run; all fields are part of the saved state.

    Parameters
    ----------
    epoch, step : int
        The current epoch, from 1, and the number of steps done in it.
    rows : (N,) int64, optional
        The order of the samples in this epoch; None before it is sampled.
    loss : float
        Sum of the loss over the samples of this epoch so far.
    correct_pixels, pixels : int
        Numbers of pixels of this epoch so far: classified correctly, and all that count.
    seconds : float
        Duration of the steps of this epoch so far.
    history, timing : list of Row
        One row for each finished epoch.
    best, best_weights
        History row and weights of the best epoch so far.
    validations_since_best : int
        Number of validations since the last improvement.
    lowest_cost : float
        The lowest validation cost; the cost of a score to maximize is its negative.
    devices : list of str
        Hardware that was used, in order.
    """

    epoch: int = 1
    step: int = 0
    rows: torch.Tensor | None = None
    loss: float = 0.0
    correct_pixels: int = 0
    pixels: int = 0
    seconds: float = 0.0
    history: list[Row] = field(default_factory=list)
    timing: list[Row] = field(default_factory=list)
    best: Row | None = None
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)
    validations_since_best: int = 0
    lowest_cost: float = math.inf
    devices: list[str] = field(default_factory=list)

    def next_epoch(self) -> None:
        """Start the next epoch at its first step, with a new order of the samples."""
        self.epoch += 1
        self.step, self.rows, self.loss, self.seconds = 0, None, 0.0, 0.0
        self.correct_pixels, self.pixels = 0, 0

    @property
    def accuracy(self) -> float:
        """The share of pixels of this epoch that were classified correctly; NaN without pixels."""
        return self.correct_pixels / self.pixels if self.pixels else math.nan

    def count_pixels(self, correct: int, counted: int) -> None:
        """Add the pixels of a batch."""
        self.correct_pixels, self.pixels = self.correct_pixels + correct, self.pixels + counted

    def record_validation(self, cost: float) -> None:
        """Record the cost of a validation; lower is better."""
        if cost < self.lowest_cost:
            self.validations_since_best, self.lowest_cost = 0, cost
        else:
            self.validations_since_best += 1

    def state(self) -> dict[str, Any]:
        """Return all fields as plain data and tensors."""
        return dict(vars(self))

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore the fields from the result of `state`; raises KeyError or ValueError if one is missing or wrong."""
        epoch, history = state["epoch"], state["history"]
        if not 1 <= epoch <= len(history) + 1:
            raise ValueError(f"epoch {epoch} after a history of {plural(len(history), 'epoch')}")
        for name in vars(self):
            setattr(self, name, state[name])

    def record_device(self, device: str) -> None:
        """Record the hardware."""
        if self.devices[-1:] != [device]:
            self.devices.append(device)


def copy_weights(network: nn.Module) -> dict[str, torch.Tensor]:
    """Copy the weights of a network to main memory."""
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in network.state_dict().items()}


def is_best(row: Row, best: Row | None, monitor: str) -> bool:
    """Return whether a row is better than the best one so far.

    A validated row is better than one without validation. Of two rows without validation the newer one is better.
    """
    if best is None or math.isnan(best[monitor]):
        return True
    if math.isnan(row[monitor]):
        return False
    if LOWER_IS_BETTER[monitor]:
        return row[monitor] < best[monitor]
    return row[monitor] > best[monitor]


def require_finite(row: Row, experiment: str, *losses: str) -> None:
    """Raise TrainingError if a loss is not finite."""
    if not all(math.isfinite(row[name]) for name in losses):
        raise TrainingError(
            f"experiment {experiment!r}, epoch {row['epoch']}",
            ", ".join(f"{name} {row[name]}" for name in losses),
            "finite numbers",
            "lower the learning rate, or check `normalize` of the data set; maxF needs a non-empty mask",
        )


def describe_epoch(row: Row, epochs: int, seconds: float) -> str:
    """Summarize one epoch in one line, without the scores that were not computed."""
    formats = {
        "train_loss": "train loss {:.5f}",
        "lr": "lr {:.6f}",
        "val_loss": "validation loss {:.5f}",
        "val_dice": "Dice {:.4f}",
        "val_mae": "MAE {:.4f}",
        "val_max_f": "maxF {:.4f}",
    }
    measured = [text.format(row[name]) for name, text in formats.items() if not math.isnan(row[name])]
    return f"epoch {row['epoch']}/{epochs}: {', '.join(measured)}, {seconds:.1f} s"
