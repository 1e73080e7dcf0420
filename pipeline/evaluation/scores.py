"""Scores of confusion counts: pure functions, for score tables and for the choice of thresholds.

All functions take confusion counts (numbers, or arrays over images) of foreground against background and return
float64. Precision, recall, F1, Dice and IoU are undefined for an image whose mask and prediction are both empty; they
are then `empty` (1, or NaN to exclude the image from a mean). If no pixel counts, every score is NaN.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.counts import Confusion, dice

Scores = NDArray[np.float64]

EMPTY_VALUES = {"one": 1.0, "skip": np.nan}
"""Score by policy for images whose mask and prediction are both empty."""

BETA2_SALIENT = 0.3
"""beta^2 of the F score in salient object detection (Achanta, Hemami, Estrada, Süsstrunk, CVPR 2009)."""

IOU_PERCENT = tuple(range(50, 100, 5))
"""IoU thresholds of the TGS salt challenge, in percent: 0.50 to 0.95 in steps of 0.05."""


def ratio(numerator: NDArray[Any], denominator: NDArray[Any], default: NDArray[Any] | float) -> Scores:
    """Divide; return `default` where the denominator is 0."""
    zero = np.asarray(denominator) == 0
    return np.where(zero, default, numerator / np.where(zero, 1, denominator))


def _both_empty(counts: Confusion, empty: float) -> Scores:
    """Return the value of 0 / 0: `empty` if mask and prediction are both empty, else 0."""
    return np.where(counts.tp + counts.fp + counts.fn == 0, _unless_no_pixels(counts, empty), 0.0)


def _unless_no_pixels(counts: Confusion, value: float) -> Scores:
    """Return `value` if any pixel counts, else NaN."""
    return np.where(sum(counts) == 0, np.nan, value)


def precision(counts: Confusion, empty: float = 1.0) -> Scores:
    """TP / (TP + FP); 0 if the prediction is empty and the mask is not."""
    return ratio(counts.tp, counts.tp + counts.fp, _both_empty(counts, empty))


def recall(counts: Confusion, empty: float = 1.0) -> Scores:
    """TP / (TP + FN), also called sensitivity; 0 if the mask is empty and the prediction is not."""
    return ratio(counts.tp, counts.tp + counts.fn, _both_empty(counts, empty))


def iou(counts: Confusion, empty: float = 1.0) -> Scores:
    """Intersection over union, TP / (TP + FP + FN) (Jaccard, 1901)."""
    return ratio(counts.tp, counts.tp + counts.fp + counts.fn, _unless_no_pixels(counts, empty))


def specificity(counts: Confusion, empty: float = 1.0) -> Scores:
    """TN / (TN + FP); 1 without background."""
    return ratio(counts.tn, counts.tn + counts.fp, _unless_no_pixels(counts, 1.0))


def accuracy(counts: Confusion, empty: float = 1.0) -> Scores:
    """(TP + TN) / all pixels; NaN without pixels."""
    return ratio(counts.tp + counts.tn, counts.tp + counts.fp + counts.fn + counts.tn, np.nan)


def mcc(counts: Confusion, empty: float = 1.0) -> Scores:
    """Return Matthews' correlation coefficient, in [-1, 1] (Matthews, Biochim Biophys Acta 405 (1975) 442).

    If a row or a column of the confusion matrix is empty, the quotient is 0 / 0: it is then `empty` if mask and
    prediction are both empty, 1 if both are all foreground, else 0 (Chicco, Jurman, BMC Genomics 21 (2020) 6).
    """
    tp, fp, fn, tn = (np.asarray(count, dtype=np.float64) for count in counts)
    # roots before the product: the product of four counts of a large data set would lose precision
    denominator = np.sqrt(tp + fp) * np.sqrt(tp + fn) * np.sqrt(tn + fp) * np.sqrt(tn + fn)
    perfect = np.where(tp == 0, _unless_no_pixels(counts, empty), 1.0)
    return ratio(tp * tn - fp * fn, denominator, np.where(fp + fn == 0, perfect, 0.0))


def f_beta(precision: Scores, recall: Scores, beta2: float) -> Scores:
    """Return ``(1 + beta2) P R / (beta2 P + R)``, 0 if P and R are 0 (van Rijsbergen, 1979)."""
    denominator = beta2 * precision + recall
    return np.asarray((1.0 + beta2) * precision * recall / np.where(denominator == 0, 1.0, denominator))


def f03(counts: Confusion, empty: float = 1.0) -> Scores:
    """F with beta² 0.3, which weights precision more than recall (Achanta, Hemami, Estrada, Süsstrunk, CVPR 2009)."""
    return f_beta(precision(counts, empty), recall(counts, empty), BETA2_SALIENT)


def youden(counts: Confusion, empty: float = 1.0) -> Scores:
    """Youden's J, true positive rate - false positive rate (Cancer 3 (1950) 32); NaN unless both classes occur."""
    has_both_classes = (counts.tp + counts.fn > 0) & (counts.fp + counts.tn > 0)
    return np.where(has_both_classes, recall(counts) + specificity(counts) - 1.0, np.nan)


def tgs_score(counts: Confusion, empty: float = 1.0) -> Scores:
    """Return the fraction of ten IoU thresholds that each image's IoU exceeds, a multiple of 0.1.

    The mean average precision of the TGS salt identification challenge (Kaggle, 2018), with at most one object in each
    image. It is 1 for an image whose mask and prediction are both empty, regardless of `empty`.
    """
    union = np.asarray(counts.tp + counts.fp + counts.fn)
    # integers, because the float 0.55 is not exactly 55 / 100
    hits = 100 * np.asarray(counts.tp)[..., None] > np.array(IOU_PERCENT) * union[..., None]
    return np.where(union == 0, dice(counts), hits.mean(axis=-1))
