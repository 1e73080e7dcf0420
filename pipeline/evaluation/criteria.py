"""What a threshold may be chosen by: a score of all pictures together, at each of the levels that cut probabilities."""

from collections.abc import Callable

import numpy as np

from pipeline.core.counts import LEVELS, Confusion, Histogram, confusion, dice
from pipeline.evaluation.scores import (
    BETA2_SALIENT,
    EMPTY_VALUES,
    Scores,
    accuracy,
    f_beta,
    iou,
    mcc,
    precision,
    recall,
    specificity,
)
from pipeline.evaluation.tgs_score import tgs_score


def f03(counts: Confusion, empty: float = 1.0) -> Scores:
    """F with beta² 0.3, which weighs precision more (Achanta, Hemami, Estrada, Süsstrunk, CVPR 2009)."""
    return f_beta(precision(counts, empty), recall(counts, empty), BETA2_SALIENT)


def youden(counts: Confusion, empty: float = 1.0) -> Scores:
    """Youden's J, true positive rate - false positive rate (Cancer 3 (1950) 32); NaN without either class."""
    both = (counts.tp + counts.fn > 0) & (counts.fp + counts.tn > 0)
    return np.where(both, recall(counts) + specificity(counts) - 1.0, np.nan)


def _tgs_score(counts: Confusion, empty: float = 1.0) -> Scores:
    return tgs_score(counts)


CRITERIA: dict[str, Callable[[Confusion, float], Scores]] = {
    "f1": dice,  # the same number from whole counts: what ties, ties exactly
    "iou": iou,
    "f03": f03,
    "mcc": mcc,
    "accuracy": accuracy,
    "youden": youden,
    "tgs_score": _tgs_score,
}
"""Name to function, each of them better where it is higher."""


def score_at_cuts(histograms: Histogram, metric: str, averaging: str, empty_masks: str = "one") -> Scores:
    """Compute a score at every cut that a threshold in [0, 1) can ask for.

    Parameters
    ----------
    histograms : (N, 2, 256) array
    metric : str
        A key of `CRITERIA`.
    averaging : {'micro', 'macro'}
        ``micro``: of all pixels together. ``macro``: mean over the pictures that have the score.
    empty_masks : {'one', 'skip'}
        ``macro`` only: score of a picture whose mask and prediction both are empty, 1 or left out of the mean. Of all
        pixels together nothing found where nothing is counts 1.

    Returns
    -------
    (255,) array of float64
        By the highest level that is background, 0 to 254. NaN where no picture has the score.
    """
    pooled = averaging == "micro"
    counts = confusion(histograms.sum(axis=0, keepdims=True) if pooled else histograms)
    scores = CRITERIA[metric](counts, 1.0 if pooled else EMPTY_VALUES[empty_masks])[:, : LEVELS - 1]
    counted = ~np.isnan(scores)
    total = counted.sum(axis=0)
    sums = np.where(counted, scores, 0.0).sum(axis=0)
    return np.where(total > 0, sums / np.maximum(total, 1), np.nan)
