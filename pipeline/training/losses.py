"""Loss functions, each with the activation that converts network output to probabilities.

All take ``output`` (N, C, H, W), the logits of the network, ``target`` (N, 1, H, W) and ``weight`` (N, 1, H, W) or
None, and return a scalar. ``target`` is the foreground probability in [0, 1] as float32, or the class index as int64
if there are more than two classes. ``weight`` is not negative; pixels of weight 0 do not count.

In distributed training each process passes its rows of a batch, and all get the loss of the whole batch.
"""

import importlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from pipeline.training import ranks
from pipeline.training.recipes import LOSS_MODULES

Function = Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor]

_EPSILON = 1e-7  # as in Keras, which clips the probabilities of a cross-entropy to [epsilon, 1 - epsilon]


def _mean(values: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """Return the weighted mean of (N, C, H, W) values over all pixels; 0 if no pixel counts."""
    if weight is None and ranks.world_size() == 1:
        return values.mean()
    if weight is None:  # all weights are 1; other processes may have other weights
        weight = torch.ones_like(values[:, :1])
    return ranks.all_reduce_sum((values * weight).sum()) / (ranks.all_reduce_sum(weight.sum()) * values.shape[1]).clamp(
        min=_EPSILON
    )


def _one_hot(target: torch.Tensor, classes: int) -> torch.Tensor:
    """One-hot encode a target, (N, 1, H, W) to (N, classes, H, W) float32; soft targets give probabilities."""
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
        valid = (weight > 0).float()
        probability, target = probability * valid, target * valid
    overlap = ranks.all_reduce_sum((probability * target).sum(dim=(0, 2, 3)))
    sizes = ranks.all_reduce_sum(probability.sum(dim=(0, 2, 3)) + target.sum(dim=(0, 2, 3)))
    return (1.0 - (2.0 * overlap + 1.0) / (sizes + 1.0)).mean()


def dice(output: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Soft Dice loss over the whole batch: 1 - (2 sum(p t) + 1) / (sum(p) + sum(t) + 1).

    Milletari, Navab, Ahmadi: V-Net (3DV 2016), with plain sums in the denominator, and 1 added to numerator
    and denominator, so that the loss is 0 if target and prediction are empty. Pixels of weight 0 are excluded; other
    weights have no effect.
    """
    return _dice(torch.sigmoid(output), target, weight)


def bce_dice(output: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Sum of `bce` and `dice`."""
    return bce(output, target, weight) + dice(output, target, weight)


def cross_entropy(output: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Cross-entropy over all classes; probabilities are the softmax of the output."""
    log_probability = functional.log_softmax(output, dim=1)
    return _mean(-(_one_hot(target, output.shape[1]) * log_probability).sum(dim=1, keepdim=True), weight)


def softmax_dice(
    output: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None, *, first: int = 1
) -> torch.Tensor:
    """`dice` of the softmax, averaged over the classes from `first` on: 1 if the first class is background, else 0."""
    one_hot = _one_hot(target, output.shape[1])
    return _dice(torch.softmax(output, dim=1)[:, first:], one_hot[:, first:], weight)


def cross_entropy_dice(
    output: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None, *, first: int = 1
) -> torch.Tensor:
    """Sum of `cross_entropy` and `softmax_dice` (Isensee et al.: nnU-Net, Nature Methods 2021)."""
    return cross_entropy(output, target, weight) + softmax_dice(output, target, weight, first=first)


def softmax_bce(output: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Binary cross-entropy of the softmax of each class against the mask of that class, averaged over classes.

    It reproduces a published tutorial, which combines ``BinaryCrossentropy`` of Keras with a softmax output.
    `cross_entropy` is the standard loss of a softmax.
    """
    probability = torch.softmax(output, dim=1).clamp(_EPSILON, 1.0 - _EPSILON)
    one_hot = _one_hot(target, output.shape[1])
    return _mean(-(one_hot * probability.log() + (1.0 - one_hot) * torch.log1p(-probability)), weight)


class Loss(NamedTuple):
    """A loss function with the activation of its network output.

    Parameters
    ----------
    function : Function
    activation : {'clip', 'sigmoid', 'softmax'}
        Converts the output to probabilities; stored in the checkpoint.
    per_class : bool
        Whether the function averages over classes, and takes the index of the `first` of them.
    """

    function: Function
    activation: str
    per_class: bool = False

    def without_background(self) -> "Loss":
        """Return the loss for several classes of which none is background."""
        function: Callable[..., torch.Tensor] = self.function
        return self._replace(function=partial(function, first=0)) if self.per_class else self

    def channels(self, classes: int) -> int:
        """Return the number of output channels of the network: one for each class with a softmax, else 1."""
        return classes if self.activation == "softmax" else 1


def _imported(name: str, function: str) -> Function:
    """Return a function of the module of a loss, which only training runs with this loss import."""

    def call(*arguments: Any) -> torch.Tensor:  # noqa: ANN401 - those of the function
        loss: torch.Tensor = getattr(importlib.import_module(LOSS_MODULES[name]), function)(*arguments)
        return loss

    return call


LOSSES: dict[str, Loss] = {
    "mse": Loss(mse, "clip"),
    "bce": Loss(bce, "sigmoid"),
    "dice": Loss(dice, "sigmoid"),
    "bce-dice": Loss(bce_dice, "sigmoid"),
    "cross-entropy": Loss(cross_entropy, "softmax"),
    "softmax-dice": Loss(softmax_dice, "softmax", per_class=True),
    "cross-entropy-dice": Loss(cross_entropy_dice, "softmax", per_class=True),
    "softmax-bce": Loss(softmax_bce, "softmax"),
    "lovasz": Loss(_imported("lovasz", "lovasz"), "sigmoid"),
    "lovasz-softmax": Loss(_imported("lovasz-softmax", "lovasz_softmax"), "softmax"),
}


def choose_loss(name: str, has_background: bool) -> Loss:
    """Return the loss of this name, for classes of which the first is background or not."""
    loss = LOSSES[name]
    return loss if has_background else loss.without_background()


ACTIVATIONS = tuple(dict.fromkeys(loss.activation for loss in LOSSES.values()))
"""Activations that `activate` supports."""


def supervise(
    function: Function, outputs: Sequence[torch.Tensor], target: torch.Tensor, weight: torch.Tensor | None
) -> torch.Tensor:
    """Sum a loss over all outputs of a network: deep supervision if it has side outputs.

    Lee, Xie, Gallagher, Zhang, Tu: Deeply-supervised nets (AISTATS 2015); with equal weights, as U2-Net's eq. 1.
    """
    return torch.stack([function(output, target, weight) for output in outputs]).sum()


def activate(output: torch.Tensor, activation: str) -> torch.Tensor:
    """Convert network output to probabilities in [0, 1], as float32.

    Parameters
    ----------
    output : (N, K, H, W) tensor
    activation : {'clip', 'sigmoid', 'softmax'}

    Returns
    -------
    (N, 1, H, W) tensor of the foreground, or (N, K, H, W) of all classes if there are more than two
    """
    output = output.float()
    if activation == "softmax":
        probability = torch.softmax(output, dim=1)
        return probability[:, 1:2] if output.shape[1] == 2 else probability
    return output.clamp(0.0, 1.0) if activation == "clip" else torch.sigmoid(output)
