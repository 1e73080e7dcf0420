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
    loss : () float64
        Sum of the loss over the samples of this epoch so far. This tensor and `pixels` are on the device and always the
        same: steps add to them, and nothing reads them before the end of the epoch.
    pixels : (2,) int64
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
    loss: torch.Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))
    pixels: torch.Tensor = field(default_factory=lambda: torch.zeros(2, dtype=torch.int64))
    seconds: float = 0.0
    history: list[Row] = field(default_factory=list)
    timing: list[Row] = field(default_factory=list)
    best: Row | None = None
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)
    validations_since_best: int = 0
    lowest_cost: float = math.inf
    devices: list[str] = field(default_factory=list)

    @classmethod
    def on(cls, device: torch.device) -> "Progress":
        """Return the progress of a new training run on a device."""
        loss = torch.zeros((), dtype=torch.float32 if device.type == "mps" else torch.float64)  # MPS has no float64
        return cls(loss=loss.to(device), pixels=torch.zeros(2, dtype=torch.int64, device=device))

    def next_epoch(self) -> None:
        """Start the next epoch at its first step, with a new order of the samples."""
        self.epoch += 1
        self.step, self.rows, self.seconds = 0, None, 0.0
        self.loss.zero_()
        self.pixels.zero_()

    def add(self, loss: torch.Tensor, batch_rows: int, pixels: torch.Tensor) -> None:
        """Add the mean loss and the (2,) pixels of a batch; the device does it without being waited for."""
        self.loss += loss.to(self.loss.dtype) * batch_rows
        self.pixels += pixels

    def training_scores(self) -> Row:
        """Return loss and accuracy of the finished epoch, read from the device; the accuracy is NaN without pixels."""
        assert self.rows is not None
        correct, counted = self.pixels.tolist()
        accuracy = correct / counted if counted else math.nan
        return {"train_loss": self.loss.item() / len(self.rows), "accuracy": accuracy}

    def record_validation(self, cost: float) -> None:
        """Record the cost of a validation; lower is better."""
        if cost < self.lowest_cost:
            self.validations_since_best, self.lowest_cost = 0, cost
        else:
            self.validations_since_best += 1

    def begin_stage(self, keep_best: bool) -> None:
        """Forget validations; also the best epoch, unless scores of the next stage compare with its."""
        self.validations_since_best, self.lowest_cost = 0, math.inf
        if not keep_best:
            self.best, self.best_weights = None, {}

    def state(self) -> dict[str, Any]:
        """Return all fields as plain data and tensors."""
        return dict(vars(self))

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore the fields from the result of `state`; raises KeyError or ValueError if one is missing or wrong."""
        epoch, history = state["epoch"], state["history"]
        if not 1 <= epoch <= len(history) + 1:
            raise ValueError(f"epoch {epoch} after a history of {plural(len(history), 'epoch')}")
        for name, value in vars(self).items():
            if name in ("loss", "pixels"):
                value.copy_(state[name])
            else:
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


def require_finite_state(progress: Progress, network: nn.Module, experiment: str) -> None:
    """Raise TrainingError if the loss of this epoch so far or a weight is not finite; waits for the device."""
    states = {"train_loss": [progress.loss], "weights": list(network.state_dict().values())}
    finite = {name: torch.stack([tensor.isfinite().all() for tensor in tensors]) for name, tensors in states.items()}
    values = {name: 0.0 if flags.all() else math.nan for name, flags in finite.items()}
    require_finite({"epoch": progress.epoch, **values}, experiment, *(name for name in values if values[name]))


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
