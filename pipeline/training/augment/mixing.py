"""Mix the samples of a batch with one another: CutMix and mixup.

Each sample gets a random partner in the whole batch, also if several processes compute it, and numbers of its own.
"""

import torch
from scipy.special import betaincinv

from pipeline.training import ranks
from pipeline.training.augment.batch_rng import BatchRng, Change, Planes, Size
from pipeline.training.augment.options import Cutmix, Mixup


def paste_boxes(rng: BatchRng, size: Size, *, cutmix: Cutmix) -> Change:
    """Paste a box of another sample, at the same place: image, mask and weight together.

    Yun, Han, Oh, Chun, Choe, Yoo: CutMix (ICCV 2019, arXiv 1905.04899), eq. 2: ``sqrt(1 - b)`` of height and width,
    with b of the distribution Beta(alpha, alpha), around a uniform pixel, cut off at the borders of the image.

    Parameters
    ----------
    rng : BatchRng
    size : Size
    cutmix : Cutmix
    """
    partners, share, chosen = _draw(rng, cutmix)
    numbers = [partners]
    for side in size:
        length = (torch.sqrt(1.0 - share) * side).long() * chosen
        first = rng.integers(side) - length // 2
        numbers += [first, first + length]

    def apply(planes: Planes, partners: torch.Tensor, *limits: torch.Tensor) -> Planes:
        top, bottom, left, right = (limit[:, None, None, None] for limit in limits)
        y, x = (torch.arange(side, device=partners.device) for side in size)
        inside = (y[:, None] >= top) & (y[:, None] < bottom) & (x >= left) & (x < right)
        planes, others = _gather(rng, planes, partners)
        return {name: torch.where(inside, others[name], plane) for name, plane in planes.items()}

    return Change(numbers, apply)


def blend(rng: BatchRng, size: Size, *, mixup: Mixup) -> Change:
    """Blend each sample with another one; targets become soft.

    Zhang, Cisse, Dauphin, Lopez-Paz: mixup (ICLR 2018, arXiv 1710.09412), eq. 1: ``b * own + (1 - b) * other``, with b
    of the distribution Beta(alpha, alpha), for images, targets and weights. A pixel that does not count in one of the
    two samples does not count.

    Parameters
    ----------
    rng : BatchRng
    size : Size
    mixup : Mixup
    """
    partners, share, chosen = _draw(rng, mixup)
    share = 1.0 - chosen * (1.0 - share)  # 1 where the sample stays as it is

    def apply(planes: Planes, partners: torch.Tensor, share: torch.Tensor) -> Planes:
        share = share[:, None, None, None]
        planes, others = _gather(rng, planes, partners)
        blended = {name: share * plane + (1.0 - share) * others[name] for name, plane in planes.items()}
        if "weight" in planes:
            blended["weight"] *= (planes["weight"] > 0) & (others["weight"] > 0)
        return {name: torch.where(share < 1.0, blended[name], plane) for name, plane in planes.items()}

    return Change([partners, share], apply)


def _draw(rng: BatchRng, options: Cutmix | Mixup) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the partners, numbers of Beta(alpha, alpha) in [0, 1], and whether to mix, for the rows of `rng`."""
    partners = torch.randperm(rng.batch_rows, generator=rng.rng)[rng.rows]
    share = rng.uniform().double()
    betaincinv(options.alpha, options.alpha, share.numpy(), out=share.numpy())  # in the memory of the tensor
    return partners, share, rng.uniform() < options.probability


def _gather(rng: BatchRng, planes: Planes, partners: torch.Tensor) -> tuple[Planes, Planes]:
    """Return the planes of the samples and of their partners; of several processes all have a weight then."""
    if "weight" not in planes and ranks.world_size() > 1:  # whether rows have one depends on their process
        planes = {**planes, "weight": torch.ones_like(planes["image"][:, :1])}
    index = partners.long()
    others = {
        name: ranks.gather_batch(plane, rng.rows, rng.batch_rows).index_select(0, index)
        for name, plane in planes.items()
    }
    return planes, others
