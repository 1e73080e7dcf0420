"""Images that are nearly the same, such as a copy that was saved as JPEG, found by their thumbnails."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.images.figures import RgbImage

Tiny = NDArray[np.float16]

SIDE = 16
"""Height and width of the thumbnails, whatever the shape of the image."""

MOST, SHARE = 1.0, 0.15
"""Root mean square difference of two thumbnails that look alike: at most this many of 255 grey levels, and at most this
share of either's contrast (standard deviation). Copies under JPEG of quality 75 differ by less than 0.4 levels; the
closest two different tiles of TGS differ by 2.9, the closest two photographs of DRIVE by 5.9."""

_COARSE = 4  # side of the thumbnails of thumbnails


def tiny(shown: RgbImage) -> Tiny:
    """Shrink a (H, W, 1) or (H, W, 3) image to a thumbnail: (SIDE, SIDE) grey levels 0..255."""
    grey = cv2.cvtColor(shown, cv2.COLOR_RGB2GRAY) if shown.shape[2] == 3 else np.ascontiguousarray(shown[:, :, 0])
    small = cv2.resize(grey.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.float16)


def look_alikes(thumbnails: Sequence[Tiny], groups: Sequence[int]) -> dict[int, int]:
    """Find images that look like one of another group.

    Averages over blocks never differ more (root mean square) than what they average, so nearly all pairs are ruled out
    by their means, and most of the rest by averages over 4 x 4 blocks; none is missed.

    Parameters
    ----------
    thumbnails : sequence of (SIDE, SIDE) arrays
    groups : sequence of int
        The group of each.

    Returns
    -------
    dict of int to int
        Place of each such image to the place of one that it looks like, sorted.
    """
    if not thumbnails:
        return {}
    fine = np.stack([thumbnail.ravel() for thumbnail in thumbnails]).astype(np.float32)
    order = np.argsort(fine.mean(axis=1), kind="stable")
    fine, group = fine[order], np.asarray(groups)[order]
    block = SIDE // _COARSE
    coarse = fine.reshape(-1, _COARSE, block, _COARSE, block).mean(axis=(2, 4)).reshape(len(fine), -1)
    mean, contrast = fine.mean(axis=1), fine.std(axis=1)
    ends = np.searchsorted(mean, mean + MOST, side="right")
    partner = np.full(len(fine), -1)
    for here, end in enumerate(ends):
        near = np.arange(here + 1, end)
        near = near[group[near] != group[here]]
        for level in (coarse, fine):
            allowed = np.minimum(MOST, SHARE * np.minimum(contrast[near], contrast[here]))
            near = near[_difference(level[near], level[here]) <= allowed]
        near = near[contrast[near] > 0]
        if len(near):
            partner[here] = near[0] if partner[here] < 0 else partner[here]
            partner[near[partner[near] < 0]] = here
    return dict(sorted((int(order[one]), int(order[partner[one]])) for one in np.flatnonzero(partner >= 0)))


def _difference(some: NDArray[np.float32], one: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.sqrt(np.square(some - one).mean(axis=1)))
