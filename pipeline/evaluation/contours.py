"""Scores of contours: they need masks, where all others follow from counts.

The contour of a mask is its foreground pixels with a background pixel among their four neighbours; beyond the edge of
the image and outside of the region that counts, everything is background. Distances are Euclidean, between pixel
centres, in pixels of the native size.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.counts import Confusion, dice

Mask = NDArray[np.bool_]

TOLERANCE = 2
"""Pixels that two contours may be apart and still agree."""

PERCENTILE = 95
"""Of the Hausdorff distance: the largest 5 % of the distances are taken for outliers."""

BOUNDARY_DICE, HAUSDORFF = f"boundary_dice_{TOLERANCE}px", f"hd{PERCENTILE}_px"
"""Column names, in the order of what `contour_scores` gives."""

_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def contour(mask: Mask) -> Mask:
    """Return the contour pixels of a (H, W) mask."""
    plane = mask.astype(np.uint8)
    inner = cv2.erode(plane, _CROSS, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(plane > inner)


def distances(line: Mask, other: Mask) -> NDArray[np.float64]:
    """Return the distance of each pixel of one contour to the nearest pixel of another, neither of them empty."""
    field = cv2.distanceTransform((~other).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # squares of distances between pixels are whole numbers, which takes the rounding of float32 out again
    return np.sqrt(np.rint(np.square(field[line].astype(np.float64))))


def contour_scores(predicted: NDArray[Any], truth: NDArray[Any], region: Mask | None = None) -> NDArray[np.float64]:
    """Score the contour of a prediction.

    Parameters
    ----------
    predicted, truth : (H, W) array, 0 is background
    region : (H, W) array of bool, optional
        Pixels that count; all of them without it.

    Returns
    -------
    (2,) array of float64
        Boundary Dice in [0, 1]: the share of the pixels of both contours that lie within `TOLERANCE` of the other
        contour (surface Dice of Nikolov et al., J Med Internet Res 23 (2021) e26151, on pixels); 0 where one mask is
        empty, NaN where both are. The 95 % Hausdorff distance in pixels: the larger of the 95th percentiles (linear
        interpolation) of the distances from one contour to the other and back (Huttenlocher et al., IEEE TPAMI 15
        (1993) 850; Taha, Hanbury, BMC Med Imaging 15 (2015) 29); NaN where a mask is empty.
    """
    masks = [np.asarray(mask != 0) if region is None else (mask != 0) & region for mask in (predicted, truth)]
    rows, columns = (np.flatnonzero((masks[0] | masks[1]).any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return np.array([np.nan, np.nan])
    if not (masks[0].any() and masks[1].any()):
        return np.array([0.0, np.nan])
    # no contour lies outside of the box around both, and within it all distances are the same
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    ours, theirs = (contour(mask[box]) for mask in masks)
    there, back = distances(ours, theirs), distances(theirs, ours)
    near = int((there <= TOLERANCE).sum() + (back <= TOLERANCE).sum())
    farthest = max(float(np.percentile(there, PERCENTILE)), float(np.percentile(back, PERCENTILE)))
    return np.array([near / (len(there) + len(back)), farthest])


def boundary_dice(counts: Confusion, empty: float, measured: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take boundary Dice out of (..., 2) `contour_scores`; where mask and prediction both are empty it is `empty`."""
    return np.where(counts.tp + counts.fp + counts.fn == 0, dice(counts, empty), measured[..., 0])


def hausdorff(counts: Confusion, empty: float, measured: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take the Hausdorff distance in pixels out of (..., 2) `contour_scores`."""
    return measured[..., 1]
