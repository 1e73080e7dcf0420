"""Lovasz losses: convex surrogates of 1 - IoU, for each image by itself.

Berman, Rannen Triki, Blaschko: The Lovasz-Softmax loss (CVPR 2018, arXiv 1705.08790). Pixels are sorted by their error;
the loss weighs each with the change of the Jaccard loss when it joins those of larger errors (eq. 9). Arguments are
as in `pipeline.training.losses`: pixels of weight 0 are excluded, other weights have no effect, and a soft target is
foreground above 1/2. The loss is the mean over the images of a batch in which pixels count.
"""

import torch
from torch.nn import functional

from pipeline.training import ranks


def lovasz(output: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Lovasz hinge of the logits (eq. 5 and 12); probabilities are the sigmoid of the output.

    The error of a pixel is 1 - y z, with the logit z and y = 1 for foreground, else -1; below 0 it counts as 0.
    """
    foreground = (target > 0.5).flatten(1)
    errors = 1.0 - output.flatten(1) * torch.where(foreground, 1.0, -1.0)
    valid = _valid(target, weight)
    return _mean(_surrogate(errors, foreground, valid), valid.any(dim=1))


def lovasz_softmax(output: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Lovasz-softmax (eq. 10 and 11), averaged over the classes that the mask of an image contains, with background.

    The error of a pixel is 1 - p for its own class and p for each other one, with the probability p of the softmax.
    """
    classes = output.shape[1]
    labels = target if target.dtype == torch.int64 else (target > 0.5).long()
    foreground = (labels == torch.arange(classes, device=output.device)[None, :, None, None]).flatten(2)
    errors = (foreground.float() - torch.softmax(output, dim=1).flatten(2)).abs()
    valid = _valid(target, weight)
    each_valid = valid[:, None].expand_as(foreground)
    losses = _surrogate(errors.flatten(0, 1), foreground.flatten(0, 1), each_valid.flatten(0, 1)).view(-1, classes)
    present = (foreground & each_valid).any(dim=2)
    return _mean((losses * present).sum(dim=1) / present.sum(dim=1).clamp(min=1), valid.any(dim=1))


def _valid(target: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """Return (N, P) booleans: which pixels count."""
    return (torch.ones_like(target, dtype=torch.bool) if weight is None else weight > 0).flatten(1)


def _mean(losses: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Return the mean of (N,) losses over the images that count; 0 if none does."""
    total = ranks.all_reduce_sum((losses * counts).sum())
    return total / ranks.all_reduce_sum(counts.sum().float()).clamp(min=1.0)


def _surrogate(errors: torch.Tensor, foreground: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Return the Lovasz extension of the Jaccard loss: (R,) for R rows of P pixels.

    Parameters
    ----------
    errors : (R, P) float32
        Below 0 they count as 0.
    foreground, valid : (R, P) bool
    """
    with torch.no_grad():  # the weights depend on the order of the errors only
        order = errors.masked_fill(~valid, -torch.inf).argsort(dim=1, descending=True, stable=True)
        positives = (foreground & valid).gather(1, order).cumsum(dim=1)  # whole numbers: exact, repeatable on a GPU
        ranked = torch.arange(1, errors.shape[1] + 1, device=errors.device)
        total = positives[:, -1:]
        jaccard = 1.0 - (total - positives) / (total + ranked - positives)
        steps = torch.diff(jaccard, dim=1, prepend=torch.zeros_like(jaccard[:, :1]))
        weights = steps.gather(1, order.argsort(dim=1)) * valid  # back in the order of the pixels
    return (functional.relu(errors) * weights).sum(dim=1)
