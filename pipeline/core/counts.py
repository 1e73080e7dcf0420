"""Counts from which every score follows: one joint histogram for each image and region."""

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

LEVELS = 256
"""Grey levels of a stored probability: level 0 is probability 0, level 255 is probability 1."""

VOID = 255
"""Class index of a pixel that does not count: the ignore value of every mask inside the pipeline."""

SOFT_THRESHOLD = 127
"""A soft mask (0..255) counts as foreground above this value."""

Histogram = NDArray[np.int64]

_EXACT = 1 << 24  # OpenCV gives counts as float32, which holds whole numbers up to here


class Confusion(NamedTuple):
    """Pixel counts of one threshold, or arrays of them over several thresholds or images."""

    tp: NDArray[np.int64]
    fp: NDArray[np.int64]
    fn: NDArray[np.int64]
    tn: NDArray[np.int64]


def to_levels(probability: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Quantize probabilities in [0, 1] to grey levels by rounding; the error is at most 1/510."""
    levels: NDArray[np.uint8] = np.rint(np.clip(probability, 0.0, 1.0) * (LEVELS - 1)).astype(np.uint8)
    return levels


def threshold_level(threshold: float) -> int:
    """Return the highest level that a threshold in [0, 1] calls background.

    A pixel is foreground where ``level / 255 > threshold``, that is, where ``level > threshold_level(threshold)``.
    """
    return int(np.floor(threshold * (LEVELS - 1) + 1e-9))


def joint_histogram(
    levels: NDArray[np.uint8], mask: NDArray[np.uint8], region: NDArray[np.bool_] | None = None
) -> Histogram:
    """Count pixels by mask value and probability level.

    Parameters
    ----------
    levels : (H, W) array of uint8
        Probability levels.
    mask : (H, W) array of uint8, values {0, 1}
    region : (H, W) array of bool, optional
        Pixels that count; all of them without it.

    Returns
    -------
    (2, 256) array of int64
        ``[m, l]`` is the number of pixels of mask value m and level l.
    """
    if region is not None:
        levels, mask = levels[region], mask[region]
    if not levels.size:
        return np.zeros((2, LEVELS), np.int64)
    # level and mask of a pixel, byte beside byte, are one number below 512
    flat = [np.ascontiguousarray(plane).reshape(1, -1) for plane in (levels, mask)]
    both = cv2.merge(flat).view("<u2").reshape(1, -1).astype(np.uint16, copy=False)
    total = np.zeros(2 * LEVELS, np.int64)
    for start in range(0, both.size, _EXACT):
        counts = cv2.calcHist([both[:, start : start + _EXACT]], [0], None, [2 * LEVELS], [0, 2 * LEVELS])
        total += counts.ravel().astype(np.int64)
    return total.reshape(2, LEVELS)


def confusion(histogram: Histogram, cut: int | None = None) -> Confusion:
    """Return the confusion counts at one cut, or at all 256.

    Parameters
    ----------
    histogram : (..., 2, 256) array
    cut : int, optional
        Levels above it are foreground. Without it, arrays (..., 256) over the cuts 0 to 255.
    """
    below = np.cumsum(histogram, axis=-1)  # pixels at or below each level
    total = below[..., -1:]
    if cut is not None:
        below, total = below[..., cut], total[..., 0]
        tn, fn = below[..., 0], below[..., 1]
        negatives, positives = total[..., 0], total[..., 1]
    else:
        tn, fn = below[..., 0, :], below[..., 1, :]
        negatives, positives = total[..., 0, :], total[..., 1, :]
    return Confusion(tp=positives - fn, fp=negatives - tn, fn=fn, tn=tn)


def absolute_error(histogram: Histogram) -> NDArray[np.float64]:
    """Return the mean absolute error between probability and mask over a (..., 2, 256) histogram.

    An empty region gives NaN.
    """
    levels = np.arange(LEVELS) / (LEVELS - 1)
    distance = np.stack([levels, 1.0 - levels])
    pixels = histogram.sum(axis=(-2, -1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((histogram * distance).sum(axis=(-2, -1)) / pixels)


def dice(counts: Confusion, empty: float = 1.0) -> NDArray[np.float64]:
    """Return Dice = 2 TP / (2 TP + FP + FN) (Dice, 1945).

    `empty` where mask and prediction both are, NaN where there is no pixel.
    """
    denominator = 2 * counts.tp + counts.fp + counts.fn
    safe = np.where(denominator == 0, 1, denominator)
    nothing = np.where(denominator + counts.tn == 0, np.nan, empty)
    return np.where(denominator == 0, nothing, 2 * counts.tp / safe)


def max_f(histograms: Histogram, beta2: float = 0.3) -> float:
    """Return the highest F over all levels, of the mean precision and the mean recall of several images.

    Achanta, Hemami, Estrada, Süsstrunk (CVPR 2009), eq. 6: ``(1 + beta2) P R / (beta2 P + R)`` with beta2 = 0.3, as
    works on salient objects report it. An image in which nothing is predicted has precision 0; images with empty
    masks are left out. The level at which everything is foreground is among them.

    Parameters
    ----------
    histograms : (N, 2, 256) array
    beta2 : float

    Returns
    -------
    float
        NaN where all masks are empty.
    """
    shown = histograms[histograms[:, 1].sum(axis=-1) > 0]
    if not len(shown):
        return float("nan")
    counts = confusion(np.pad(shown, ((0, 0), (0, 0), (1, 0))))  # at the first of 257 cuts all is foreground
    precision = (counts.tp / np.maximum(counts.tp + counts.fp, 1)).mean(axis=0)
    recall = (counts.tp / (counts.tp + counts.fn)).mean(axis=0)
    return float(((1.0 + beta2) * precision * recall / np.maximum(beta2 * precision + recall, 1e-12)).max())
