"""Optimizers and learning-rate schedules by name."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def build_optimizer(parameters: Iterable[torch.nn.Parameter], name: str, options: Mapping[str, Any]) -> Optimizer:
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


def build_schedule(optimizer: Optimizer, *, name: str, warmup: float, epochs: int, steps_per_epoch: int) -> LambdaLR:
    """Build a schedule that moves once a step; `warmup` is in epochs."""
    factor = rate_factor(name, epochs * steps_per_epoch, round(warmup * steps_per_epoch))
    return LambdaLR(optimizer, factor)
