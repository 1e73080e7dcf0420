"""Optimizers and learning-rate schedules by name."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def build_optimizer(parameters: Iterable[torch.nn.Parameter], name: str, **options: Any) -> Optimizer:  # noqa: ANN401
    """Build an optimizer by name; `options` are PyTorch's own keyword arguments (lr, momentum, weight_decay)."""
    return OPTIMIZERS[name](parameters, **options)


def rate_factor(name: str, steps: int, warmup_steps: int) -> Callable[[int], float]:
    """Return what the learning rate is multiplied by at each step.

    Parameters
    ----------
    name : {'constant', 'cosine'}
        ``'cosine'`` falls from 1 to 0 by half a cosine (Loshchilov, Hutter: SGDR, ICLR 2017, eq. 5, one cycle).
    steps : int
        Steps of the whole training.
    warmup_steps : int
        Steps of linear rise from 0 before the cosine begins.
    """

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        if name == "constant":
            return 1.0
        progress = (step - warmup_steps) / max(1, steps - warmup_steps)
        return 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))

    return factor


class Schedule:
    """Moves the learning rate: once a step, and on a plateau once a validation.

    Parameters
    ----------
    optimizer : Optimizer
    name : {'constant', 'cosine', 'plateau'}
        ``'plateau'`` multiplies the rate by `factor` after `patience` validations without an improvement.
    warmup : float
        Epochs of linear rise before a cosine.
    epochs, steps_per_epoch : int
    factor : float
    patience : int
    smallest_gain : float
        What counts as an improvement on a plateau (Keras' ``min_delta``).
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        name: str,
        epochs: int,
        steps_per_epoch: int,
        warmup: float = 0.0,
        factor: float = 0.5,
        patience: int = 3,
        smallest_gain: float = 1e-4,
    ) -> None:
        self._optimizer = optimizer
        self._by_step = self._plateau = None
        self._moved_by: LambdaLR | ReduceLROnPlateau
        if name == "plateau":
            # PyTorch acts on the first bad validation beyond its patience, Keras (and this) on the last one within
            self._moved_by = self._plateau = ReduceLROnPlateau(
                optimizer, factor=factor, patience=patience - 1, threshold=smallest_gain, threshold_mode="abs"
            )
        else:
            run = rate_factor(name, epochs * steps_per_epoch, round(warmup * steps_per_epoch))
            self._moved_by = self._by_step = LambdaLR(optimizer, run)

    @property
    def rate(self) -> float:
        """The learning rate of the coming step."""
        return float(self._optimizer.param_groups[0]["lr"])

    def step(self) -> None:
        """Go on by one step of the optimizer."""
        if self._by_step is not None:
            self._by_step.step()

    def validated(self, cost: float) -> None:
        """Take note of a validation's cost, of which less is better."""
        if self._plateau is not None:
            self._plateau.step(cost)

    def state_dict(self) -> dict[str, Any]:
        """Return how far the schedule is, as plain data."""
        return self._moved_by.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._moved_by.load_state_dict(state)
