"""Soft clDice: a loss for thin connected structures such as vessels.

Shit, Paetzold, Sekuboyina, Ezhov, Unger, Zhylka, Pluim, Bauer, Menze: clDice, a novel topology-preserving loss function
for tubular structure segmentation (CVPR 2021, arXiv 2003.07311).
"""

from collections.abc import Callable

import torch
from torch.nn import functional

from pipeline.training import ranks
from pipeline.training.losses import dice

Extreme = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def cldice(
    output: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None, *, alpha: float, iterations: int
) -> torch.Tensor:
    """``(1 - alpha) dice + alpha (1 - soft clDice)``, section 3.3; arguments as in `losses`, over the whole batch.

    clDice is the harmonic mean of the part of the predicted skeleton within the target and the part of the skeleton of
    the target within the prediction (alg. 2), here with 1 added to numerators and denominators. Pixels of weight 0 are
    excluded and have no skeleton; other weights have no effect.
    """
    probability = torch.sigmoid(output)
    overlap_loss = dice(output, target, weight)
    if weight is not None:
        valid = (weight > 0).float()
        probability, target = probability * valid, target * valid
    predicted, true = soft_skeleton(probability, iterations), soft_skeleton(target, iterations)
    precision = _share(predicted, target)
    sensitivity = _share(true, probability)
    return (1.0 - alpha) * overlap_loss + alpha * (1.0 - 2.0 * precision * sensitivity / (precision + sensitivity))


def _share(skeleton: torch.Tensor, region: torch.Tensor) -> torch.Tensor:
    """Return the share of a skeleton that is within a region."""
    inside, total = ranks.all_reduce_sum((skeleton * region).sum()), ranks.all_reduce_sum(skeleton.sum())
    return (inside + 1.0) / (total + 1.0)


def soft_skeleton(image: torch.Tensor, iterations: int) -> torch.Tensor:
    """Return the soft skeleton of (N, 1, H, W) values in [0, 1], alg. 1.

    Parameters
    ----------
    image : (N, 1, H, W) float32
    iterations : int
        Number of erosions, at least the largest radius of a structure in pixels.
    """
    skeleton = functional.relu(image - _open(image))
    for _ in range(iterations):
        image = _erode(image)
        rest = functional.relu(image - _open(image))
        skeleton = skeleton + functional.relu(rest - skeleton * rest)
    return skeleton


def _erode(image: torch.Tensor) -> torch.Tensor:
    """Return the minimum over a cross of five pixels."""
    return torch.minimum(_over_three(image, 2, torch.minimum), _over_three(image, 3, torch.minimum))


def _open(image: torch.Tensor) -> torch.Tensor:
    """Erode, then take the maximum over 3x3 pixels."""
    return _over_three(_over_three(_erode(image), 2, torch.maximum), 3, torch.maximum)


def _over_three(image: torch.Tensor, axis: int, extreme: Extreme) -> torch.Tensor:
    """Return the extreme over three neighbours along an axis, at the borders over two.

    Pooling gives the same, but its gradient is not repeatable on a GPU where windows overlap.
    """
    length = image.shape[axis]
    if length == 1:
        return image
    pairs = extreme(image.narrow(axis, 0, length - 1), image.narrow(axis, 1, length - 1))
    inner = extreme(pairs.narrow(axis, 0, length - 2), pairs.narrow(axis, 1, length - 2))
    return torch.cat([pairs.narrow(axis, 0, 1), inner, pairs.narrow(axis, length - 2, 1)], dim=axis)
