"""Losses of a binary segmentation. Each names the function that turns its network's output into probabilities.

All take ``output`` (N, 1, H, W) as the network gives it (two channels for `cross_entropy`), ``target`` (N, 1, H, W) in
[0, 1] and ``weight`` (N, 1, H, W) in [0, 1] or None, and give one number. ``weight`` is 0 where a pixel does not count.
"""

from collections.abc import Callable

import torch
from torch.nn import functional

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor]


def _mean(values: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """Average over the pixels that count; 0 where none does."""
    if weight is None:
        return values.mean()
    return (values * weight).sum() / weight.sum().clamp(min=1.0)


def mse(output: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Mean squared error of the raw output; probabilities are the output clipped to [0, 1]."""
    return _mean((output - target) ** 2, weight)


def bce(output: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Binary cross-entropy with logits; probabilities are the sigmoid of the output."""
    return _mean(functional.binary_cross_entropy_with_logits(output, target, reduction="none"), weight)


def dice(output: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Soft Dice loss over the whole batch: 1 - (2 sum(p t) + 1) / (sum(p) + sum(t) + 1).

    Milletari, Navab, Ahmadi: V-Net (3DV 2016), with plain sums in the denominator and 1 added to both sides, so
    that an empty batch predicted empty costs nothing.
    """
    probability = torch.sigmoid(output)
    if weight is not None:
        probability, target = probability * weight, target * weight
    overlap = (probability * target).sum()
    return 1.0 - (2.0 * overlap + 1.0) / (probability.sum() + target.sum() + 1.0)


def bce_dice(output: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Sum of `bce` and `dice`."""
    return bce(output, target, weight) + dice(output, target, weight)


def cross_entropy(output: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Cross-entropy of two channels, background and foreground; probabilities are the softmax of the output."""
    log_probability = functional.log_softmax(output, dim=1)
    return _mean(-(target * log_probability[:, 1:2] + (1.0 - target) * log_probability[:, 0:1]), weight)


LOSSES: dict[str, Loss] = {
    "mse": mse,
    "bce": bce,
    "dice": dice,
    "bce-dice": bce_dice,
    "cross-entropy": cross_entropy,
}

OUTPUT_CHANNELS = {"mse": 1, "bce": 1, "dice": 1, "bce-dice": 1, "cross-entropy": 2}
"""Loss name to the channels that its network must give."""

ACTIVATIONS = {"mse": "clip", "bce": "sigmoid", "dice": "sigmoid", "bce-dice": "sigmoid", "cross-entropy": "softmax"}
"""Loss name to the name of what makes probabilities of the output: it goes into the checkpoint."""


def activate(output: torch.Tensor, activation: str) -> torch.Tensor:
    """Turn network output into foreground probabilities (N, 1, H, W) in [0, 1], as float32."""
    output = output.float()
    if activation == "softmax":
        return torch.softmax(output, dim=1)[:, 1:2]
    return output.clamp(0.0, 1.0) if activation == "clip" else torch.sigmoid(output)
