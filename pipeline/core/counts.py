"""Joint histograms of mask and probability, one for each image and region; every score is computed from them."""

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

LEVELS = 256
"""Number of levels of a stored probability: level 0 is probability 0, level 255 is probability 1."""

VOID = 255
"""Class index of ignored pixels, in every mask inside the pipeline."""

SOFT_THRESHOLD = 127
"""Pixels of a soft mask (0..255) above this value are foreground."""

Histogram = NDArray[np.int64]

_MAX_EXACT = 1 << 24  # OpenCV returns counts as float32, which represents integers exactly up to this one


class Confusion(NamedTuple):
    """Confusion counts in pixels, as scalars or arrays over thresholds or images."""

    tp: NDArray[np.int64]
    fp: NDArray[np.int64]
    fn: NDArray[np.int64]
    tn: NDArray[np.int64]


def to_levels(probability: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Quantize probabilities in [0, 1] to levels by rounding, halves down; the error is at most 1/510.

    So 0.5, which lies between the levels 127 and 128, becomes 127: like every probability that equals the threshold it
    is background.
    """
    return round_half_down(np.clip(probability, 0.0, 1.0) * (LEVELS - 1))


def round_half_down(values: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Round values in [0, 255] to the nearest integer, halves to the lower one."""
    rounded: NDArray[np.uint8] = np.ceil(values - 0.5).astype(np.uint8)
    return rounded


def threshold_level(threshold: float) -> int:
    """Return the highest level that is background at a threshold in [0, 1].

    A pixel is foreground where ``level / 255 > threshold``, that is, where ``level > threshold_level(threshold)``. At
    0.5 the highest level is 127.
    """
    return int(np.floor(threshold * (LEVELS - 1) + 1e-9))


def joint_histogram(
    levels: NDArray[np.uint8], mask: NDArray[np.uint8], region: NDArray[np.bool_] | None = None
) -> Histogram:
    """Compute the joint histogram of mask value and probability level.

    Parameters
    ----------
    levels : (H, W) array of uint8
        Probability levels.
    mask : (H, W) array of uint8, values {0, 1}
    region : (H, W) array of bool, optional
        Pixels to count; by default all.

    Returns
    -------
    (2, 256) array of int64
        ``[m, l]`` is the number of pixels with mask value m and level l.
    """
    if region is not None:
        levels, mask = levels[region], mask[region]
    if not levels.size:
        return np.zeros((2, LEVELS), np.int64)
    # the bytes of level and mask, interleaved, are one code below 512 for each pixel
    flat = [np.ascontiguousarray(plane).reshape(1, -1) for plane in (levels, mask)]
    codes = cv2.merge(flat).view("<u2").reshape(1, -1).astype(np.uint16, copy=False)
    total = np.zeros(2 * LEVELS, np.int64)
    for start in range(0, codes.size, _MAX_EXACT):
        counts = cv2.calcHist([codes[:, start : start + _MAX_EXACT]], [0], None, [2 * LEVELS], [0, 2 * LEVELS])
        total += counts.ravel().astype(np.int64)
    return total.reshape(2, LEVELS)


def confusion(histogram: Histogram, level: int | None = None) -> Confusion:
    """Return the confusion counts at one threshold level, or at all 256.

    Parameters
    ----------
    histogram : (..., 2, 256) array
    level : int, optional
        Levels above it are foreground. Without it, the counts are arrays (..., 256) over the levels 0 to 255.
    """
    cumulative = np.cumsum(histogram, axis=-1)  # pixels at or below each level
    total = cumulative[..., -1:]
    if level is not None:
        cumulative, total = cumulative[..., level], total[..., 0]
        tn, fn = cumulative[..., 0], cumulative[..., 1]
        negatives, positives = total[..., 0], total[..., 1]
    else:
        tn, fn = cumulative[..., 0, :], cumulative[..., 1, :]
        negatives, positives = total[..., 0, :], total[..., 1, :]
    return Confusion(tp=positives - fn, fp=negatives - tn, fn=fn, tn=tn)


def absolute_error(histogram: Histogram) -> NDArray[np.float64]:
    """Return the mean absolute error between probability and mask of a (..., 2, 256) histogram; NaN without pixels."""
    levels = np.arange(LEVELS) / (LEVELS - 1)
    distance = np.stack([levels, 1.0 - levels])
    pixels = histogram.sum(axis=(-2, -1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((histogram * distance).sum(axis=(-2, -1)) / pixels)


def soft_absolute_error(distances: NDArray[np.float64], pixels: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean absolute error between probability and soft mask; NaN without pixels.

    Parameters
    ----------
    distances : (...) array of float64
        Sum over the pixels of the absolute difference between probability level and soft mask, both 0..255.
    pixels : (...) array
        Number of these pixels.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(distances / (pixels * np.float64(LEVELS - 1)))


def dice(counts: Confusion, empty: float = 1.0) -> NDArray[np.float64]:
    """Return Dice = 2 TP / (2 TP + FP + FN) (Dice, 1945).

    The score is `empty` where both mask and prediction are empty, and NaN without pixels.
    """
    denominator = 2 * counts.tp + counts.fp + counts.fn
    nonzero_denominator = np.where(denominator == 0, 1, denominator)
    empty_score = np.where(denominator + counts.tn == 0, np.nan, empty)
    return np.where(denominator == 0, empty_score, 2 * counts.tp / nonzero_denominator)


def max_f(histograms: Histogram, beta2: float = 0.3) -> float:
    """Return the maximum F-measure over all thresholds, of mean precision and mean recall over images.

    Achanta, Hemami, Estrada, Süsstrunk (CVPR 2009), eq. 6: ``(1 + beta2) P R / (beta2 P + R)``, with beta2 = 0.3 as
    usual in salient object detection. An image with an empty prediction has precision 0; images with empty masks are
    left out. The thresholds include the one at which every pixel is foreground.

    Parameters
    ----------
    histograms : (N, 2, 256) array
    beta2 : float

    Returns
    -------
    float
        NaN if all masks are empty.
    """
    nonempty = histograms[histograms[:, 1].sum(axis=-1) > 0]
    if not len(nonempty):
        return float("nan")
    counts = confusion(np.pad(nonempty, ((0, 0), (0, 0), (1, 0))))  # at the first of 257 levels all is foreground
    precision = (counts.tp / np.maximum(counts.tp + counts.fp, 1)).mean(axis=0)
    recall = (counts.tp / (counts.tp + counts.fn)).mean(axis=0)
    return float(((1.0 + beta2) * precision * recall / np.maximum(beta2 * precision + recall, 1e-12)).max())
