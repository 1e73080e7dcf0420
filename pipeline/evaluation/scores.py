"""Scores of confusion counts: pure functions, in reports and for choosing thresholds.

All of them take confusion counts (numbers, or arrays over images) of foreground against background and give float64.
An image whose mask and prediction both are empty has no precision, recall, F1, Dice or IoU of its own; it gets the
value `empty` (1, or NaN to leave it out of a mean). Where no pixel counts at all, every score is NaN.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.counts import Confusion, dice

Scores = NDArray[np.float64]

EMPTY_VALUES = {"one": 1.0, "skip": np.nan}
"""Policy for images whose mask and prediction both are empty."""

BETA2_SALIENT = 0.3
"""Weight of recall that works on salient objects use (Achanta, Hemami, Estrada, Süsstrunk, CVPR 2009)."""

IOU_PERCENT = tuple(range(50, 100, 5))
"""IoU thresholds of the TGS salt challenge, in per cent: 0.50 to 0.95 in steps of 0.05."""


def ratio(numerator: NDArray[Any], denominator: NDArray[Any], otherwise: NDArray[Any] | float) -> Scores:
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
    return ratio(counts.tp, counts.tp + counts.fp, _both_empty(counts, empty))


def recall(counts: Confusion, empty: float = 1.0) -> Scores:
    """TP / (TP + FN), also called sensitivity; 0 where the mask is empty and the prediction is not."""
    return ratio(counts.tp, counts.tp + counts.fn, _both_empty(counts, empty))


def iou(counts: Confusion, empty: float = 1.0) -> Scores:
    """Intersection over union, TP / (TP + FP + FN) (Jaccard, 1901)."""
    return ratio(counts.tp, counts.tp + counts.fp + counts.fn, _some(counts, empty))


def specificity(counts: Confusion, empty: float = 1.0) -> Scores:
    """TN / (TN + FP); 1 where there is no background that could be called wrongly."""
    return ratio(counts.tn, counts.tn + counts.fp, _some(counts, 1.0))


def accuracy(counts: Confusion, empty: float = 1.0) -> Scores:
    """(TP + TN) / all pixels; NaN where there is none."""
    return ratio(counts.tp + counts.tn, counts.tp + counts.fp + counts.fn + counts.tn, np.nan)


def mcc(counts: Confusion, empty: float = 1.0) -> Scores:
    """Return Matthews' correlation coefficient, in [-1, 1] (Matthews, Biochim Biophys Acta 405 (1975) 442).

    Where a row or a column of the table is empty the quotient is 0 / 0: `empty` where mask and prediction both are
    empty, 1 where both are all foreground, 0 otherwise (Chicco, Jurman, BMC Genomics 21 (2020) 6).
    """
    tp, fp, fn, tn = (np.asarray(count, dtype=np.float64) for count in counts)
    # roots before the product: four counts of a large data set multiplied would lose digits
    below = np.sqrt(tp + fp) * np.sqrt(tp + fn) * np.sqrt(tn + fp) * np.sqrt(tn + fn)
    perfect = np.where(tp == 0, _some(counts, empty), 1.0)
    return ratio(tp * tn - fp * fn, below, np.where(fp + fn == 0, perfect, 0.0))


def f_beta(precision: Scores, recall: Scores, beta2: float) -> Scores:
    """Return ``(1 + beta2) P R / (beta2 P + R)``, 0 where P and R are 0 (van Rijsbergen, 1979)."""
    below = beta2 * precision + recall
    return np.asarray((1.0 + beta2) * precision * recall / np.where(below == 0, 1.0, below))


def f03(counts: Confusion, empty: float = 1.0) -> Scores:
    """F with beta² 0.3, which weighs precision more (Achanta, Hemami, Estrada, Süsstrunk, CVPR 2009)."""
    return f_beta(precision(counts, empty), recall(counts, empty), BETA2_SALIENT)


def youden(counts: Confusion, empty: float = 1.0) -> Scores:
    """Youden's J, true positive rate - false positive rate (Cancer 3 (1950) 32); NaN without either class."""
    both = (counts.tp + counts.fn > 0) & (counts.fp + counts.tn > 0)
    return np.where(both, recall(counts) + specificity(counts) - 1.0, np.nan)


def tgs_score(counts: Confusion, empty: float = 1.0) -> Scores:
    """Return the share of ten IoU thresholds that each image's IoU lies above, in steps of 0.1.

    The mean average precision of the TGS salt identification challenge (Kaggle, 2018), with one object at most in each
    image. An image whose mask and prediction both are empty scores 1, whatever `empty` is.
    """
    union = np.asarray(counts.tp + counts.fp + counts.fn)
    # whole numbers: 0.55 as a float is no 55 / 100
    hits = 100 * np.asarray(counts.tp)[..., None] > np.array(IOU_PERCENT) * union[..., None]
    return np.where(union == 0, dice(counts), hits.mean(axis=-1))
