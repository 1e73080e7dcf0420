"""Tversky loss: Dice with weights of its own for false positives and false negatives."""

import torch

from pipeline.training import ranks


def tversky(
    output: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None, *, alpha: float, beta: float
) -> torch.Tensor:
    """Tversky loss of the sigmoid over the whole batch; arguments as in `losses`, weights above 0 have no effect.

    ``1 - (TP + 1/2) / (TP + alpha FP + beta FN + 1/2)`` with soft counts, which equals `dice` if both are 1/2.
    Salehi, Erdogmus, Gholipour: Tversky loss function for image segmentation (MLMI 2017, arXiv 1706.05721), eq. 4,
    here with 1/2 added so that the loss is 0 if target and prediction are empty.
    """
    probability = torch.sigmoid(output)
    if weight is not None:
        valid = (weight > 0).float()
        probability, target = probability * valid, target * valid
    tp = ranks.all_reduce_sum((probability * target).sum())
    fp = ranks.all_reduce_sum(probability.sum()) - tp
    fn = ranks.all_reduce_sum(target.sum()) - tp
    return 1.0 - (tp + 0.5) / (tp + alpha * fp + beta * fn + 0.5)
