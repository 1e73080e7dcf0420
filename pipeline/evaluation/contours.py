"""Scores of contours, which are computed from masks; all other scores are computed from counts.

The contour of a mask is its foreground pixels with a background pixel among their four neighbours; pixels outside the
image or outside the region are background. Distances are Euclidean, between pixel centres, in pixels of the native
size.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.counts import Confusion, dice

Mask = NDArray[np.bool_]

TOLERANCE = 2
"""Largest distance in pixels at which two contours agree."""

PERCENTILE = 95
"""Percentile of the Hausdorff distance: the largest 5 % of the distances are treated as outliers."""

BOUNDARY_DICE, HAUSDORFF = f"boundary_dice_{TOLERANCE}px", f"hd{PERCENTILE}_px"
"""Column names, in the order of the values of `contour_scores`."""

_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def contour(mask: Mask) -> Mask:
    """Return the contour pixels of a (H, W) mask."""
    plane = mask.astype(np.uint8)
    inner = cv2.erode(plane, _CROSS, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(plane > inner)


def distances(source: Mask, target: Mask) -> NDArray[np.float64]:
    """Return the distance of each pixel of one contour to the nearest pixel of another; neither may be empty."""
    distance_map = cv2.distanceTransform((~target).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # squared distances between pixels are integers, which removes the rounding errors of float32
    return np.sqrt(np.rint(np.square(distance_map[source].astype(np.float64))))


def contour_scores(predicted: NDArray[Any], truth: NDArray[Any], region: Mask | None = None) -> NDArray[np.float64]:
    """Compute boundary Dice and the 95 % Hausdorff distance of a prediction.

    Parameters
    ----------
    predicted, truth : (H, W) array, 0 is background
    region : (H, W) array of bool, optional
        Pixels that count; all pixels by default.

    Returns
    -------
    (2,) array of float64
        Boundary Dice in [0, 1]: the fraction of the pixels of both contours that are within `TOLERANCE` of the other
        contour (surface Dice of Nikolov et al., J Med Internet Res 23 (2021) e26151, on pixels); 0 if one mask is
        empty, NaN if both are. The 95 % Hausdorff distance in pixels: the larger of the 95th percentiles (linear
        interpolation) of the distances from each contour to the other (Huttenlocher et al., IEEE TPAMI 15
        (1993) 850; Taha, Hanbury, BMC Med Imaging 15 (2015) 29); NaN if a mask is empty.
    """
    masks = [np.asarray(mask != 0) if region is None else (mask != 0) & region for mask in (predicted, truth)]
    rows, columns = (np.flatnonzero((masks[0] | masks[1]).any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return np.array([np.nan, np.nan])
    if not (masks[0].any() and masks[1].any()):
        return np.array([0.0, np.nan])
    # the bounding box of both masks contains both contours, and cropping to it does not change distances
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    predicted_contour, true_contour = (contour(mask[box]) for mask in masks)
    to_true, to_predicted = distances(predicted_contour, true_contour), distances(true_contour, predicted_contour)
    near = int((to_true <= TOLERANCE).sum() + (to_predicted <= TOLERANCE).sum())
    hausdorff_distance = max(float(np.percentile(to_true, PERCENTILE)), float(np.percentile(to_predicted, PERCENTILE)))
    return np.array([near / (len(to_true) + len(to_predicted)), hausdorff_distance])


def boundary_dice(counts: Confusion, empty: float, measured: NDArray[np.float64]) -> NDArray[np.float64]:
    """Select boundary Dice from (..., 2) `contour_scores`; `empty` if mask and prediction are both empty."""
    return np.where(counts.tp + counts.fp + counts.fn == 0, dice(counts, empty), measured[..., 0])


def hausdorff(counts: Confusion, empty: float, measured: NDArray[np.float64]) -> NDArray[np.float64]:
    """Select the Hausdorff distance in pixels from (..., 2) `contour_scores`."""
    return measured[..., 1]
