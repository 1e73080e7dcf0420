"""Downscale images for sheets and the report."""

import cv2
import numpy as np
from numpy.typing import NDArray


def downscale(pixels: NDArray[np.uint8], side: int, *, classes: bool = False) -> NDArray[np.uint8]:
    """Downscale an image to at most `side` pixels in height and width; smaller images are unchanged.

    Parameters
    ----------
    pixels : (H, W) or (H, W, 3) array of uint8
    side : int
    classes : bool
        Whether values are class indices, which cannot be averaged: the nearest pixel is taken.
    """
    factor = side / max(pixels.shape[:2])
    if factor >= 1:
        return pixels
    size = (max(1, round(pixels.shape[1] * factor)), max(1, round(pixels.shape[0] * factor)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_NEAREST if classes else cv2.INTER_AREA))
