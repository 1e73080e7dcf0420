"""How much each pixel counts in a loss: rare classes more than frequent ones, narrow gaps more than open ground."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.counts import VOID
from pipeline.training.recipes import Border

_REACH = 6  # sigmas after which the border term is below 2e-8 of w0


def class_weights(counts: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
    """Weight each class by the inverse of its share, so that all of them weigh the same together.

    Parameters
    ----------
    counts : (K,) whole numbers
        Pixels of each class in the training masks that count in the loss.

    Returns
    -------
    (K,) array of float32
        ``total / (K * counts)``; 1 for a class without pixels: where validation masks have it, it counts.
    """
    numbers = np.asarray(counts, dtype=np.float64)
    with np.errstate(divide="ignore"):
        weights = numbers.sum() / (len(numbers) * numbers)
    return np.where(numbers > 0, weights, 1.0).astype(np.float32)


def border_term(mask: NDArray[np.uint8], w0: float, sigma: float) -> NDArray[np.float32]:
    """Give background between two close objects a weight that falls with the width of the gap.

    Ronneberger, Fischer, Brox: U-Net (MICCAI 2015), eq. 2: ``w0 * exp(-(d1 + d2)**2 / (2 sigma**2))``, where d1 and d2
    are the distances to the nearest and to the second nearest object.

    Parameters
    ----------
    mask : (H, W) array of uint8
        Class indices; connected pixels (also by their corners) of one foreground class are one object.
    w0 : float
        Weight in the narrowest gap.
    sigma : float
        Pixels.

    Returns
    -------
    (H, W) array of float32
        0 on objects, on void pixels, and where there is no second object near.
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
            left, top, wide, high = (int(value) for value in boxes[number, :4])
            rows = slice(max(0, top - reach), min(height, top + high + reach))
            columns = slice(max(0, left - reach), min(width, left + wide + reach))
            outside = (components[rows, columns] != number).astype(np.uint8)
            # a frame of outside pixels where the box ends changes no distance to the object
            rough = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE).astype(np.float64)
            # its last digits depend on where the array lies in memory; the squares are whole numbers
            distance = np.sqrt(np.rint(rough * rough))
            first = nearest[rows, columns]
            second[rows, columns] = np.minimum(second[rows, columns], np.maximum(first, distance))
            nearest[rows, columns] = np.minimum(first, distance)
    term = w0 * np.exp(-((nearest + second) ** 2) / (2.0 * sigma**2))
    term[(mask != 0) | (second >= far)] = 0.0
    return np.asarray(term, dtype=np.float32)


def weight_map(
    mask: NDArray[np.uint8], by_class: NDArray[np.float32] | None = None, border: Border | None = None
) -> NDArray[np.float32]:
    """Add up what one mask's pixels weigh: their class's weight (1 without) and the border term.

    Parameters
    ----------
    mask : (H, W) array of uint8
        Class indices; void pixels weigh 0.
    by_class : (K,) array of float32, optional
        See `class_weights`.
    border : Border, optional
        See `border_term`.

    Returns
    -------
    (H, W) array of float32, not negative
    """
    table = np.ones(256, dtype=np.float32)
    if by_class is not None:
        table[: len(by_class)] = by_class
    table[VOID] = 0.0
    weights = table[mask]
    return weights if border is None else weights + border_term(mask, border.w0, border.sigma)
