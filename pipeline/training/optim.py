"""Optimizers and learning-rate schedules by name."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from pipeline.training.recipes import Cosine, Plateau
from pipeline.training.recipes import Optimizer as OptimizerOptions
from pipeline.training.recipes import Schedule as ScheduleOptions

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def implementation(name: str, device: torch.device) -> dict[str, bool]:
    """Return the keyword arguments of the fastest implementation of an optimizer on a device.

    On CUDA one kernel updates many parameters, and can be recorded in a CUDA graph. On a CPU it is no faster.
    """
    if device.type != "cuda":
        return {}
    return {"fused": True} if name == "sgd" else {"fused": True, "capturable": True}


def build_optimizer(parameters: Iterable[torch.nn.Parameter], options: OptimizerOptions) -> Optimizer:
    """Build an optimizer. Its options are the keyword arguments of PyTorch (lr, momentum, weight_decay, eps).

    Biases and the weights of normalizations, which are the parameters of one dimension, have no weight decay.
    """
    all_parameters, arguments = list(parameters), options.plain()
    name = arguments.pop("name")
    arguments |= implementation(name, all_parameters[0].device)
    groups: list[dict[str, Any]] = [{"params": all_parameters}]
    if options.weight_decay:
        groups = [{"params": []}, {"params": [], "weight_decay": 0.0}]
        for parameter in all_parameters:
            groups[parameter.ndim <= 1]["params"].append(parameter)
    optimizer = OPTIMIZERS[name](groups, **arguments)
    optimizer.register_load_state_dict_pre_hook(_keep_implementation)
    optimizer._warned_capturable_if_run_uncaptured = True  # steps before a graph are run
    return optimizer


def _keep_implementation(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """Return the state of an optimizer, perhaps from another kind of device, with the implementation of this one."""
    groups = [
        {**saved, **{key: own[key] for key in ("capturable", "foreach", "fused") if key in own}}
        for saved, own in zip(state["param_groups"], optimizer.param_groups, strict=True)
    ]
    return {**state, "param_groups": groups}


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
    """Learning-rate schedule over `epochs` of `steps` each; updated at each step, for a plateau at each validation.

    Fused optimizers get the rate as a tensor on the device, always the same one, so that a recorded step uses the rate
    of the present. `learning_rate`, that of the next step, is a number of the CPU: nothing reads it from the device.
    """

    def __init__(self, options: ScheduleOptions, optimizer: Optimizer, epochs: int, steps: int) -> None:
        self._optimizer = optimizer
        self.learning_rate = self._initial_rate = float(optimizer.param_groups[0]["lr"])
        self._done_steps = 0
        self._factor: Callable[[int], float] | None = None
        self._plateau: ReduceLROnPlateau | None = None
        parameter = optimizer.param_groups[0]["params"][0]
        self._tensor = torch.zeros((), device=parameter.device) if optimizer.param_groups[0].get("fused") else None
        if isinstance(options, Plateau):
            # PyTorch reduces after patience + 1 validations without improvement, Keras and this class after `patience`
            factor, patience, min_delta = options.factor, options.patience - 1, options.min_delta
            holder = torch.optim.SGD([torch.zeros(())], lr=self._initial_rate)  # of the rate, without parameters
            self._plateau = ReduceLROnPlateau(holder, "min", factor, patience, min_delta, threshold_mode="abs")
            self._set_rate(self._initial_rate)
        else:
            warmup = (round(options.warmup * steps), options.warmup_start) if isinstance(options, Cosine) else (0,)
            self._factor = lr_factor(options.name, epochs * steps, *warmup)
            self._set_rate(self._initial_rate * self._factor(0))

    def _set_rate(self, rate: float) -> None:
        self.learning_rate = rate
        for group in self._optimizer.param_groups:
            group["lr"] = rate if self._tensor is None else self._tensor
        if self._tensor is not None:
            self._tensor.fill_(rate)

    def step(self) -> None:
        """Advance by one step of the optimizer."""
        if self._factor is not None:
            self._done_steps += 1
            self._set_rate(self._initial_rate * self._factor(self._done_steps))

    def record_validation(self, cost: float) -> None:
        """Reduce the learning rate on a plateau; lower costs are better."""
        if self._plateau is not None:
            self._plateau.step(cost)
            self._set_rate(self._plateau.optimizer.param_groups[0]["lr"])

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the schedule as plain data."""
        plateau = None if self._plateau is None else self._plateau.state_dict()
        return {"rate": self.learning_rate, "done_steps": self._done_steps, "plateau": plateau}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of `state_dict`; after the optimizer, whose state has a copy of the rate."""
        self._done_steps = state["done_steps"]
        if self._plateau is not None:
            self._plateau.load_state_dict(state["plateau"])
            self._plateau.optimizer.param_groups[0]["lr"] = state["rate"]
        self._set_rate(state["rate"])
