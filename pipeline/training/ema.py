"""An exponential moving average of the weights of a network during training."""

import copy
import math
from typing import Any

import torch
from torch import nn

_POWER = 2 / 3


def decay_after(updates: int, decay: float) -> float:
    """Return the decay of an update, which rises with the updates before: ``min(decay, 1 - (1 + t)**(-2/3))``.

    This is the warm-up of ``ModelEmaV3`` in timm. The first decay is 0, so that random initial weights are forgotten.

    Parameters
    ----------
    updates : int
        Number of updates before, t.
    decay : float
        The largest decay, in (0, 1).
    """
    return min(decay, 1.0 - math.pow(1.0 + updates, -_POWER))


class WeightAverage:
    """A copy of a network whose weights are the moving average of those that training gives it.

    After each step: ``average = d * average + (1 - d) * weights``, with d from `decay_after` (Tarvainen, Valpola: Mean
    teachers are better role models, NeurIPS 2017, arXiv 1703.01780; Polyak, Juditsky: Acceleration of stochastic
    approximation by averaging, 1992). Running means and variances of batch normalizations are averaged alike, their
    counters of batches copied. ``torch.optim.swa_utils.AveragedModel`` computes the same for a constant decay, but
    waits for a GPU in each step.

    Parameters
    ----------
    network : nn.Module
        The network in training.
    decay : float
        In (0, 1).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self._decay, self._updates = decay, 0
        self._averaged, self._copied = (
            [
                [tensor for tensor in part.state_dict().values() if tensor.is_floating_point() == floating]
                for part in (self.network, network)
            ]
            for floating in (True, False)
        )

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the present weights; the device does it without being waited for."""
        averages, weights = self._averaged
        torch._foreach_lerp_(averages, weights, 1.0 - decay_after(self._updates, self._decay))
        copies, counters = self._copied
        if copies:  # networks without batch normalization have none
            torch._foreach_copy_(copies, counters)
        self._updates += 1

    def restart(self) -> None:
        """Begin again with the present weights, as at the start of training."""
        self._updates = 0
        self.update()
        self._updates = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the averages and the number of updates."""
        return {"updates": self._updates, "weights": self.network.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of `state_dict`."""
        self.network.load_state_dict(state["weights"])
        self._updates = int(state["updates"])
