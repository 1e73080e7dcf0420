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
    """Build an optimizer. Its options are the keyword arguments of PyTorch (lr, momentum, weight_decay, eps).

    Biases and the weights of normalizations, which are the parameters of one dimension, have no weight decay.
    """
    arguments = options.plain()
    build = OPTIMIZERS[arguments.pop("name")]
    if not options.weight_decay:
        return build(parameters, **arguments)
    groups: list[dict[str, Any]] = [{"params": []}, {"params": [], "weight_decay": 0.0}]
    for parameter in parameters:
        groups[parameter.ndim <= 1]["params"].append(parameter)
    return build(groups, **arguments)


def lr_factor(name: str, steps: int, warmup_steps: int, warmup_start: float | None = None) -> Callable[[int], float]:
    """Return a function that maps a step to the factor of the learning rate.

    Parameters
    ----------
    name : {'constant', 'cosine'}
        ``'cosine'`` falls from 1 to 0 along half a cosine (Loshchilov, Hutter: SGDR, ICLR 2017, eq. 5, one cycle).
    steps : int
        Number of steps of the training run.
    warmup_steps : int
        Number of warm-up steps: linear rise to 1 before the cosine starts.
    warmup_start : float, optional
        The factor of the first step of the warm-up; by default ``1 / (warmup_steps + 1)``.
    """

    def factor(step: int) -> float:
        if step < warmup_steps:
            if warmup_start is not None:
                return warmup_start + (1.0 - warmup_start) * step / warmup_steps
            return (step + 1) / (warmup_steps + 1)
        if name == "constant":
            return 1.0
        progress = (step - warmup_steps) / max(1, steps - warmup_steps)
        return 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))

    return factor


class Schedule:
    """Learning-rate schedule over `epochs` of `steps` each; updated at each step, for a plateau at each validation."""

    def __init__(self, options: ScheduleOptions, optimizer: Optimizer, epochs: int, steps: int) -> None:
        self._optimizer = optimizer
        self._scheduler: LambdaLR | ReduceLROnPlateau
        if isinstance(options, Plateau):
            # PyTorch reduces after patience + 1 validations without improvement, Keras and this class after `patience`
            factor, patience, min_delta = options.factor, options.patience - 1, options.min_delta
            self._scheduler = ReduceLROnPlateau(optimizer, "min", factor, patience, min_delta, threshold_mode="abs")
        else:
            warmup = (round(options.warmup * steps), options.warmup_start) if isinstance(options, Cosine) else (0,)
            self._scheduler = LambdaLR(optimizer, lr_factor(options.name, epochs * steps, *warmup))

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        return float(self._optimizer.param_groups[0]["lr"])

    def step(self) -> None:
        """Advance by one step of the optimizer."""
        if isinstance(self._scheduler, LambdaLR):
            self._scheduler.step()

    def record_validation(self, cost: float) -> None:
        """Reduce the learning rate on a plateau; lower costs are better."""
        if isinstance(self._scheduler, ReduceLROnPlateau):
            self._scheduler.step(cost)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the schedule as plain data."""
        return self._scheduler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of `state_dict`."""
        self._scheduler.load_state_dict(state)
