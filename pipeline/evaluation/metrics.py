"""The scores that are reported: pure functions of counts.

All of them take confusion counts (numbers, or arrays over pictures) of foreground against background and give
float64. A picture whose mask and prediction both are empty has no precision, recall, F1, Dice or IoU of its own;
it gets the value `empty` (1, or NaN to leave it out of a mean). Where no pixel counts at all, every score is NaN.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.counts import Confusion, Histogram, dice

Scores = NDArray[np.float64]


def _ratio(numerator: NDArray[Any], denominator: NDArray[Any], otherwise: NDArray[Any] | float) -> Scores:
    """Divide where that is possible, and give `otherwise` where the denominator is 0."""
    zero = np.asarray(denominator) == 0
    return np.where(zero, otherwise, numerator / np.where(zero, 1, denominator))


def _both_empty(counts: Confusion, empty: float) -> Scores:
    """Give `empty` where mask and prediction are empty, 0 elsewhere: the value of 0 / 0."""
    return np.where(counts.tp + counts.fp + counts.fn == 0, _some(counts, empty), 0.0)


def _some(counts: Confusion, value: float) -> Scores:
    """Give `value` where any pixel counts, NaN where none does: nothing was seen, so nothing was right."""
    return np.where(sum(counts) == 0, np.nan, value)


def precision(counts: Confusion, empty: float = 1.0) -> Scores:
    """TP / (TP + FP); 0 where nothing was predicted although the mask is not empty."""
    return _ratio(counts.tp, counts.tp + counts.fp, _both_empty(counts, empty))


def recall(counts: Confusion, empty: float = 1.0) -> Scores:
    """TP / (TP + FN), also called sensitivity; 0 where the mask is empty and the prediction is not."""
    return _ratio(counts.tp, counts.tp + counts.fn, _both_empty(counts, empty))


def f1(counts: Confusion, empty: float = 1.0) -> Scores:
    """Harmonic mean of precision and recall (van Rijsbergen, 1979)."""
    p, r = precision(counts, empty), recall(counts, empty)
    return _ratio(2 * p * r, p + r, 0.0)


def iou(counts: Confusion, empty: float = 1.0) -> Scores:
    """Intersection over union, TP / (TP + FP + FN) (Jaccard, 1901)."""
    return _ratio(counts.tp, counts.tp + counts.fp + counts.fn, _some(counts, empty))


def specificity(counts: Confusion, empty: float = 1.0) -> Scores:
    """TN / (TN + FP); 1 where there is no background that could be called wrongly."""
    return _ratio(counts.tn, counts.tn + counts.fp, _some(counts, 1.0))


def accuracy(counts: Confusion, empty: float = 1.0) -> Scores:
    """(TP + TN) / all pixels; NaN where there is none."""
    return _ratio(counts.tp + counts.tn, counts.tp + counts.fp + counts.fn + counts.tn, np.nan)


def mcc(counts: Confusion, empty: float = 1.0) -> Scores:
    """Return Matthews' correlation coefficient, in [-1, 1] (Matthews, Biochim Biophys Acta 405 (1975) 442).

    Where a row or a column of the table is empty the quotient is 0 / 0: `empty` where mask and prediction both are
    empty, 1 where both are all foreground, 0 otherwise (Chicco, Jurman, BMC Genomics 21 (2020) 6).
    """
    tp, fp, fn, tn = (np.asarray(count, dtype=np.float64) for count in counts)
    # roots before the product: four counts of a large data set multiplied would lose digits
    below = np.sqrt(tp + fp) * np.sqrt(tp + fn) * np.sqrt(tn + fp) * np.sqrt(tn + fn)
    perfect = np.where(tp == 0, _some(counts, empty), 1.0)
    return _ratio(tp * tn - fp * fn, below, np.where(fp + fn == 0, perfect, 0.0))


def roc_auc(histogram: Histogram) -> Scores:
    """Area under the ROC curve: the chance that a foreground pixel has a higher level than a background pixel.

    Hanley, McNeil (Radiology 1982): the Mann-Whitney statistic, equal levels counting half; the trapezoidal area over
    all 256 levels.

    Parameters
    ----------
    histogram : (..., 2, 256) array

    Returns
    -------
    (...) array of float64
        NaN where there is no foreground or no background.
    """
    background, foreground = histogram[..., 0, :], histogram[..., 1, :]
    below = np.cumsum(background, axis=-1) - 0.5 * background
    # as float: the product of the pixels of a large data set is beyond 64-bit integers
    pairs = background.sum(axis=-1, dtype=np.float64) * foreground.sum(axis=-1)
    return _ratio((foreground * below).sum(axis=-1), pairs, np.nan)


METRICS: dict[str, Callable[[Confusion, float], Scores]] = {
    "f1": f1,
    "dice": dice,
    "iou": iou,
    "precision": precision,
    "recall": recall,
    "specificity": specificity,
    "accuracy": accuracy,
    "mcc": mcc,
}
"""Column name to function, in the order of the reports. F1 and Dice are one number for two-valued masks."""

EMPTY_VALUES = {"one": 1.0, "skip": np.nan}
"""Policy for pictures whose mask and prediction both are empty."""
