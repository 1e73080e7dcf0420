"""Pixel weights of a loss: class weights against class imbalance, and the border term for gaps between objects."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.counts import VOID
from pipeline.training.recipes import Border

_REACH = 6  # in sigmas; at larger distances the border term is below 2e-8 of w0


def class_weights(counts: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
    """Weight each class by its inverse frequency, so that all classes have the same total weight.

    Parameters
    ----------
    counts : (K,) integers
        Number of pixels of each class in the training masks that count in the loss.

    Returns
    -------
    (K,) array of float32
        ``total / (K * counts)``; 1 for a class without pixels, which may occur in validation masks.
    """
    frequencies = np.asarray(counts, dtype=np.float64)
    with np.errstate(divide="ignore"):
        weights = frequencies.sum() / (len(frequencies) * frequencies)
    return np.where(frequencies > 0, weights, 1.0).astype(np.float32)


def border_term(mask: NDArray[np.uint8], w0: float, sigma: float) -> NDArray[np.float32]:
    """Weight the background between two close objects, decreasing with the width of the gap.

    Ronneberger, Fischer, Brox: U-Net (MICCAI 2015), eq. 2: ``w0 * exp(-(d1 + d2)**2 / (2 sigma**2))``, where d1 and d2
    are the distances to the nearest and to the second nearest object.

    Parameters
    ----------
    mask : (H, W) array of uint8
        Class indices; an object is an 8-connected component of one foreground class.
    w0 : float
        Weight in the narrowest gap.
    sigma : float
        Width in pixels.

    Returns
    -------
    (H, W) array of float32
        0 on objects, at ignored pixels, and where no second object is near.
    """
    height, width = mask.shape
    reach = int(np.ceil(_REACH * sigma))
    far = 2.0 * reach
    nearest = np.full(mask.shape, far)
    second = nearest.copy()
    for label in np.unique(mask):
        if label in (0, VOID):
            continue
        count, components, boxes, _ = cv2.connectedComponentsWithStats((mask == label).astype(np.uint8), connectivity=8)
        for number in range(1, count):
            left, top, box_width, box_height = (int(value) for value in boxes[number, :4])
            rows = slice(max(0, top - reach), min(height, top + box_height + reach))
            columns = slice(max(0, left - reach), min(width, left + box_width + reach))
            outside = (components[rows, columns] != number).astype(np.uint8)
            # outside pixels beyond the box do not change the distance to the object
            approximate = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE).astype(np.float64)
            # its last digits depend on the memory address of the array; the squared distances are integers
            distance = np.sqrt(np.rint(approximate * approximate))
            first = nearest[rows, columns]
            second[rows, columns] = np.minimum(second[rows, columns], np.maximum(first, distance))
            nearest[rows, columns] = np.minimum(first, distance)
    term = w0 * np.exp(-((nearest + second) ** 2) / (2.0 * sigma**2))
    term[(mask != 0) | (second >= far)] = 0.0
    return np.asarray(term, dtype=np.float32)


def weight_map(
    mask: NDArray[np.uint8], by_class: NDArray[np.float32] | None = None, border: Border | None = None
) -> NDArray[np.float32]:
    """Sum the class weight (1 by default) and the border term of each pixel of a mask.

    Parameters
    ----------
    mask : (H, W) array of uint8
        Class indices; ignored pixels get weight 0.
    by_class : (K,) array of float32, optional
        See `class_weights`.
    border : Border, optional
        See `border_term`.

    Returns
    -------
    (H, W) array of float32, not negative
    """
    lookup = np.ones(256, dtype=np.float32)
    if by_class is not None:
        lookup[: len(by_class)] = by_class
    lookup[VOID] = 0.0
    weights = lookup[mask]
    return weights if border is None else weights + border_term(mask, border.w0, border.sigma)
