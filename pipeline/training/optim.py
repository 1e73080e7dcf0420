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
    """Moves the learning rate over `epochs` of `steps` each: once a step, or on a plateau once a validation."""

    def __init__(self, options: ScheduleOptions, optimizer: Optimizer, epochs: int, steps: int) -> None:
        self._optimizer = optimizer
        self._torch: LambdaLR | ReduceLROnPlateau
        if isinstance(options, Plateau):
            # PyTorch acts on the first bad validation beyond its patience, Keras (and this) on the last one within
            factor, patience, gain = options.factor, options.patience - 1, options.min_delta
            self._torch = ReduceLROnPlateau(optimizer, "min", factor, patience, gain, threshold_mode="abs")
        else:
            warmup = round(options.warmup * steps) if isinstance(options, Cosine) else 0
            self._torch = LambdaLR(optimizer, rate_factor(options.name, epochs * steps, warmup))

    @property
    def rate(self) -> float:
        """The learning rate of the coming step."""
        return float(self._optimizer.param_groups[0]["lr"])

    def step(self) -> None:
        """Go on by one step of the optimizer."""
        if isinstance(self._torch, LambdaLR):
            self._torch.step()

    def validated(self, cost: float) -> None:
        """Take note of a validation's cost, of which less is better."""
        if isinstance(self._torch, ReduceLROnPlateau):
            self._torch.step(cost)

    def state_dict(self) -> dict[str, Any]:
        """Return how far the schedule is, as plain data."""
        return self._torch.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._torch.load_state_dict(state)
