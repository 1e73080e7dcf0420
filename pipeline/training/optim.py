"""Optimizers and learning-rate schedules by name."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from pipeline.training.recipes import Cosine, Plateau
from pipeline.training.recipes import Optimizer as OptimizerOptions
from pipeline.training.recipes import Schedule as ScheduleOptions

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def build_optimizer(parameters: Iterable[torch.nn.Parameter], options: OptimizerOptions) -> Optimizer:
    """Build an optimizer; its options are PyTorch's own keyword arguments (lr, momentum, weight_decay)."""
    plain = options.plain()
    return OPTIMIZERS[plain.pop("name")](parameters, **plain)


def build_schedule(options: ScheduleOptions, optimizer: Optimizer, epochs: int, steps_per_epoch: int) -> "Schedule":
    """Build what moves the learning rate over so many epochs of so many steps."""
    if isinstance(options, Plateau):
        # PyTorch acts on the first bad validation beyond its patience, Keras (and this) on the last one within
        plateau = ReduceLROnPlateau(
            optimizer,
            factor=options.factor,
            patience=options.patience - 1,
            threshold=options.smallest_gain,
            threshold_mode="abs",
        )
        return Schedule(optimizer, plateau=plateau)
    warmup = round(options.warmup * steps_per_epoch) if isinstance(options, Cosine) else 0
    return Schedule(optimizer, by_step=LambdaLR(optimizer, rate_factor(options.name, epochs * steps_per_epoch, warmup)))


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
    """Moves the learning rate: once a step, or on a plateau once a validation.

    Parameters
    ----------
    optimizer : Optimizer
    by_step, plateau : optional
        PyTorch's schedule of one of the two kinds.
    """

    def __init__(
        self, optimizer: Optimizer, by_step: LambdaLR | None = None, plateau: ReduceLROnPlateau | None = None
    ) -> None:
        self._optimizer, self._by_step, self._plateau = optimizer, by_step, plateau

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
        return self._either.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._either.load_state_dict(state)

    @property
    def _either(self) -> LambdaLR | ReduceLROnPlateau:
        either = self._by_step or self._plateau
        assert either is not None
        return either
