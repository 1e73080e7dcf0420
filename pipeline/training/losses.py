"""Losses. Each names the function that turns its network's output into probabilities.

All take ``output`` (N, C, H, W) as the network gives it, ``target`` (N, 1, H, W) and ``weight`` (N, 1, H, W) or None,
and give one number. ``target`` is the foreground's share in [0, 1] as float32, or class indices as int64 where there
are more than two classes. ``weight`` is not negative, and 0 where a pixel does not count.

Where several processes train together, each gives its rows of a batch, and all get the loss of the whole batch.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch.nn import functional

from pipeline.training import ranks

Function = Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor]

_EPSILON = 1e-7  # Keras keeps probabilities this far from 0 and 1 inside a cross-entropy


def _mean(values: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """Average (N, C, H, W) values over the pixels, by their weights; 0 where no pixel counts."""
    if weight is None and ranks.world_size() == 1:
        return values.mean()
    if weight is None:  # as if all were 1: other processes may have pixels that do not count
        weight = torch.ones_like(values[:, :1])
    return ranks.all_reduce_sum((values * weight).sum()) / (ranks.all_reduce_sum(weight.sum()) * values.shape[1]).clamp(
        min=_EPSILON
    )


def _shares(target: torch.Tensor, classes: int) -> torch.Tensor:
    """Spread a target over the classes: (N, 1, H, W) to (N, classes, H, W) float32 that sum to 1."""
    if target.dtype == torch.int64:
        index = torch.arange(classes, device=target.device)[None, :, None, None]
        return (target == index).float()
    return torch.cat([1.0 - target, target], dim=1)


def mse(output: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Mean squared error of the raw output; probabilities are the output clipped to [0, 1]."""
    return _mean((output - target) ** 2, weight)


def bce(output: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Binary cross-entropy from logits; probabilities are the sigmoid of the output."""
    return _mean(functional.binary_cross_entropy_with_logits(output, target, reduction="none"), weight)


def _dice(probability: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """Soft Dice loss of each channel, averaged over the channels."""
    if weight is not None:
        counted = (weight > 0).float()
        probability, target = probability * counted, target * counted
    overlap = ranks.all_reduce_sum((probability * target).sum(dim=(0, 2, 3)))
    sizes = ranks.all_reduce_sum(probability.sum(dim=(0, 2, 3)) + target.sum(dim=(0, 2, 3)))
    return (1.0 - (2.0 * overlap + 1.0) / (sizes + 1.0)).mean()


def dice(output: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Soft Dice loss over the whole batch: 1 - (2 sum(p t) + 1) / (sum(p) + sum(t) + 1).

    Milletari, Navab, Ahmadi: V-Net (3DV 2016), with plain sums in the denominator and 1 added to both sides, so
    that an empty batch predicted empty costs nothing. Weights only say which pixels count.
    """
    return _dice(torch.sigmoid(output), target, weight)


def bce_dice(output: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Sum of `bce` and `dice`."""
    return bce(output, target, weight) + dice(output, target, weight)


def cross_entropy(output: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Cross-entropy over all classes; probabilities are the softmax of the output."""
    log_probability = functional.log_softmax(output, dim=1)
    return _mean(-(_shares(target, output.shape[1]) * log_probability).sum(dim=1, keepdim=True), weight)


def softmax_dice(output: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """`dice` of the softmax, averaged over the foreground classes."""
    shares = _shares(target, output.shape[1])
    return _dice(torch.softmax(output, dim=1)[:, 1:], shares[:, 1:], weight)


def cross_entropy_dice(output: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Sum of `cross_entropy` and `softmax_dice` (Isensee et al.: nnU-Net, Nature Methods 2021)."""
    return cross_entropy(output, target, weight) + softmax_dice(output, target, weight)


def softmax_bce(output: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Binary cross-entropy of each class's softmax against its own mask, averaged over classes.

    A published tutorial trains so, by combining Keras' ``BinaryCrossentropy`` with a softmax output; here to
    reproduce it. `cross_entropy` is the loss that a softmax stands for.
    """
    probability = torch.softmax(output, dim=1).clamp(_EPSILON, 1.0 - _EPSILON)
    shares = _shares(target, output.shape[1])
    return _mean(-(shares * probability.log() + (1.0 - shares) * torch.log1p(-probability)), weight)


class Loss(NamedTuple):
    """A loss with what it asks of its network.

    Parameters
    ----------
    function : Function
    activation : {'clip', 'sigmoid', 'softmax'}
        Name of what makes probabilities of the output: it goes into the checkpoint.
    """

    function: Function
    activation: str

    def channels(self, classes: int) -> int:
        """Return the channels that the network must give: one for each class under a softmax, else 1."""
        return classes if self.activation == "softmax" else 1


LOSSES: dict[str, Loss] = {
    "mse": Loss(mse, "clip"),
    "bce": Loss(bce, "sigmoid"),
    "dice": Loss(dice, "sigmoid"),
    "bce-dice": Loss(bce_dice, "sigmoid"),
    "cross-entropy": Loss(cross_entropy, "softmax"),
    "softmax-dice": Loss(softmax_dice, "softmax"),
    "cross-entropy-dice": Loss(cross_entropy_dice, "softmax"),
    "softmax-bce": Loss(softmax_bce, "softmax"),
}


ACTIVATIONS = tuple(dict.fromkeys(loss.activation for loss in LOSSES.values()))
"""What `activate` knows."""


def supervise(
    function: Function, outputs: Sequence[torch.Tensor], target: torch.Tensor, weight: torch.Tensor | None
) -> torch.Tensor:
    """Add up a loss over all outputs of a network: deep supervision where there are side outputs.

    Lee, Xie, Gallagher, Zhang, Tu: Deeply-supervised nets (AISTATS 2015); with equal weights, as U2-Net's eq. 1.
    """
    return torch.stack([function(output, target, weight) for output in outputs]).sum()


def activate(output: torch.Tensor, activation: str) -> torch.Tensor:
    """Turn network output into probabilities in [0, 1], as float32.

    Parameters
    ----------
    output : (N, K, H, W) tensor
    activation : {'clip', 'sigmoid', 'softmax'}

    Returns
    -------
    (N, 1, H, W) tensor of the foreground, or (N, K, H, W) of all classes where there are more than two
    """
    output = output.float()
    if activation == "softmax":
        probability = torch.softmax(output, dim=1)
        return probability[:, 1:2] if output.shape[1] == 2 else probability
    return output.clamp(0.0, 1.0) if activation == "clip" else torch.sigmoid(output)
