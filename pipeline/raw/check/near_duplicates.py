"""Find near-duplicate images, such as a copy that was saved as JPEG, by their thumbnails."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.images.figures import RgbImage

GreyThumbnail = NDArray[np.float16]

SIDE = 16
"""Height and width of the thumbnails in pixels, for images of any shape."""

MAX_DIFFERENCE, MAX_CONTRAST_FRACTION = 1.0, 0.15
"""Maximum root mean square difference of near-duplicate thumbnails, in grey levels of 255 and as a fraction of the
contrast (standard deviation) of either. JPEG copies of quality 75 differ by less than 0.4 levels, the most similar
tiles of TGS by 2.9, the most similar images of DRIVE by 5.9."""

_COARSE_SIDE = 4  # of block averages of thumbnails


def grey_thumbnail(image: RgbImage) -> GreyThumbnail:
    """Shrink a (H, W, 1) or (H, W, 3) image to a thumbnail: (SIDE, SIDE) grey levels 0..255."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.shape[2] == 3 else np.ascontiguousarray(image[:, :, 0])
    small = cv2.resize(grey.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.float16)


def find_near_duplicates(thumbnails: Sequence[GreyThumbnail], groups: Sequence[int]) -> dict[int, int]:
    """Find images with a near-duplicate in another group.

    Block averages never differ more (root mean square) than the thumbnails, so most pairs are ruled out by their means,
    and most of the others by averages of 4 x 4 blocks; no pair is missed.

    Parameters
    ----------
    thumbnails : sequence of (SIDE, SIDE) arrays
    groups : sequence of int
        The group of each image.

    Returns
    -------
    dict of int to int
        Index of each such image to the index of a near-duplicate, sorted by index.
    """
    if not thumbnails:
        return {}
    fine = np.stack([thumbnail.ravel() for thumbnail in thumbnails]).astype(np.float32)
    order = np.argsort(fine.mean(axis=1), kind="stable")
    fine, group = fine[order], np.asarray(groups)[order]
    block = SIDE // _COARSE_SIDE
    coarse = fine.reshape(-1, _COARSE_SIDE, block, _COARSE_SIDE, block).mean(axis=(2, 4)).reshape(len(fine), -1)
    mean, contrast = fine.mean(axis=1), fine.std(axis=1)
    ends = np.searchsorted(mean, mean + MAX_DIFFERENCE, side="right")
    partner = np.full(len(fine), -1)
    for index, end in enumerate(ends):
        others = np.arange(index + 1, end)
        others = others[group[others] != group[index]]
        for averages in (coarse, fine):
            contrasts = np.minimum(contrast[others], contrast[index])
            allowed = np.minimum(MAX_DIFFERENCE, MAX_CONTRAST_FRACTION * contrasts)
            others = others[_rms_difference(averages[others], averages[index]) <= allowed]
        others = others[contrast[others] > 0]
        if len(others):
            partner[index] = others[0] if partner[index] < 0 else partner[index]
            partner[others[partner[others] < 0]] = index
    return dict(sorted((int(order[index]), int(order[partner[index]])) for index in np.flatnonzero(partner >= 0)))


def _rms_difference(images: NDArray[np.float32], image: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.sqrt(np.square(images - image).mean(axis=1)))
