"""What a training knows of itself: how far it is, its epochs so far, the best of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from pipeline.core.errors import TrainingError

Row = dict[str, float]

LESS_IS_BETTER = {"val_loss": True, "val_dice": False, "val_mae": True, "val_max_f": False}
"""What can be monitored."""


@dataclass
class Progress:
    """How far a training is and what it found; all of it belongs to the saved state.

    Parameters
    ----------
    epoch, step : int
        The epoch that is under way, from 1, and the steps done in it.
    rows : (N,) int64, optional
        The order of the samples in this epoch; None before it is drawn.
    loss : float
        Sum over the samples of this epoch so far.
    rate : float
        Learning rates of this epoch so far, each as its share of the mean over the epoch.
    seconds : float
        Time that the steps of this epoch took so far.
    history, timing : list of Row
        One for each epoch done.
    best, best_weights
        The best epoch so far.
    since_best : int
        Validations without an improvement.
    lowest : float
        The lowest cost of a validation; of a score that should rise, its negative.
    devices : list of str
        Hardware that the training ran on, one after another.
    """

    epoch: int = 1
    step: int = 0
    rows: torch.Tensor | None = None
    loss: float = 0.0
    rate: float = 0.0
    seconds: float = 0.0
    history: list[Row] = field(default_factory=list)
    timing: list[Row] = field(default_factory=list)
    best: Row | None = None
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)
    since_best: int = 0
    lowest: float = math.inf
    devices: list[str] = field(default_factory=list)

    def next_epoch(self) -> None:
        """Close an epoch: the next one begins at its first step, with an order of its own."""
        self.epoch += 1
        self.step, self.rows, self.loss, self.rate, self.seconds = 0, None, 0.0, 0.0, 0.0

    def validated(self, cost: float) -> None:
        """Take note of a validation's cost, of which less is better."""
        self.since_best, self.lowest = (0, cost) if cost < self.lowest else (self.since_best + 1, self.lowest)

    def state(self) -> dict[str, Any]:
        """Return all of it as plain data and tensors."""
        return dict(vars(self))

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave; raises KeyError where something is missing."""
        for name in vars(self):
            setattr(self, name, state[name])

    def runs_on(self, device: str) -> None:
        """Take note of the hardware."""
        if self.devices[-1:] != [device]:
            self.devices.append(device)


def copy_weights(network: nn.Module) -> dict[str, torch.Tensor]:
    """Copy the weights of a network into main memory."""
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in network.state_dict().items()}


def is_best(row: Row, best: Row | None, monitor: str) -> bool:
    """Tell whether a row beats the best one so far; any validated one beats all that are not, of these the newest."""
    if best is None or math.isnan(best[monitor]):
        return True
    if math.isnan(row[monitor]):
        return False
    if LESS_IS_BETTER[monitor]:
        return row[monitor] < best[monitor]
    return row[monitor] > best[monitor]


def require_finite(row: Row, experiment: str, *losses: str) -> None:
    """Raise TrainingError where a loss is no number."""
    if not all(math.isfinite(row[name]) for name in losses):
        raise TrainingError(
            f"experiment {experiment!r}, epoch {row['epoch']}",
            ", ".join(f"{name} {row[name]}" for name in losses),
            "finite numbers",
            "lower the learning rate, or check `normalize` of the data set; maxF needs a mask that is not empty",
        )


def describe_epoch(row: Row, epochs: int, seconds: float) -> str:
    """Say one epoch in one line; what was not measured is left out."""
    words = {
        "train_loss": "train loss {:.5f}",
        "lr": "lr {:.6f}",
        "val_loss": "validation loss {:.5f}",
        "val_dice": "Dice {:.4f}",
        "val_mae": "MAE {:.4f}",
        "val_max_f": "maxF {:.4f}",
    }
    measured = [text.format(row[name]) for name, text in words.items() if not math.isnan(row[name])]
    return f"epoch {row['epoch']}/{epochs}: {', '.join(measured)}, {seconds:.1f} s"
