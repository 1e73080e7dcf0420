"""Focal loss: cross-entropy in which pixels that are already right count less."""

import torch
from torch.nn import functional

from pipeline.training.losses import mean_over_pixels


def focal(
    output: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None, *, gamma: float, alpha: float
) -> torch.Tensor:
    """Focal loss from logits: the mean of ``-alpha_t (1 - p_t)**gamma log(p_t)``; arguments as in `losses`.

    p_t is the probability of the right class, alpha_t is `alpha` for foreground and 1 - `alpha` for background. Soft
    targets weigh both terms. Lin, Goyal, Girshick, He, Dollar: Focal loss for dense object detection (ICCV 2017, arXiv
    1708.02002), eq. 5.
    """
    log_p, log_q = functional.logsigmoid(output), functional.logsigmoid(-output)
    foreground = -alpha * (gamma * log_q).exp() * log_p
    background = -(1.0 - alpha) * (gamma * log_p).exp() * log_q
    return mean_over_pixels(target * foreground + (1.0 - target) * background, weight)
