"""The threshold that makes a score best: a score of all images together, at each level that can cut probabilities."""

import math

import numpy as np

from pipeline.core.counts import LEVELS, Histogram, confusion
from pipeline.evaluation.metrics import METRICS
from pipeline.evaluation.scores import EMPTY_VALUES, Scores


def score_at_cuts(histograms: Histogram, metric: str, averaging: str, empty_masks: str = "one") -> Scores:
    """Compute a score at every cut that a threshold in [0, 1) can ask for.

    Parameters
    ----------
    histograms : (N, 2, 256) array
    metric : str
        A key of `pipeline.evaluation.metrics.CRITERIA`.
    averaging : {'micro', 'macro'}
        ``micro``: of all pixels together. ``macro``: mean over the images that have the score.
    empty_masks : {'one', 'skip'}
        ``macro`` only: score of an image whose mask and prediction both are empty, 1 or left out of the mean. Of all
        pixels together nothing found where nothing is counts 1.

    Returns
    -------
    (255,) array of float64
        By the highest level that is background, 0 to 254. NaN where no image has the score. Where less is better, the
        negative of the score.
    """
    pooled = averaging == "micro"
    counts = confusion(histograms.sum(axis=0, keepdims=True) if pooled else histograms)
    scores = METRICS[metric].function(counts, 1.0 if pooled else EMPTY_VALUES[empty_masks])[:, : LEVELS - 1]
    if METRICS[metric].lower_is_better:
        scores = -scores
    counted = ~np.isnan(scores)
    total = counted.sum(axis=0)
    sums = np.where(counted, scores, 0.0).sum(axis=0)
    return np.where(total > 0, sums / np.maximum(total, 1), np.nan)


def best_threshold(
    histograms: Histogram, metric: str = "f1", averaging: str = "micro", empty_masks: str = "one"
) -> tuple[float, float]:
    """Find the threshold with the best score.

    Parameters
    ----------
    histograms : (N, 2, 256) array
    metric, averaging, empty_masks
        See `score_at_cuts`.

    Returns
    -------
    threshold, score : float
        The threshold lies midway between two levels. Of equally good ones it is the middle one, of an even number the
        higher of the two in the middle. Both are NaN where some threshold has no score: without foreground, or without
        both classes in any image, it depends on the metric whether there is one.
    """
    scores = score_at_cuts(histograms, metric, averaging, empty_masks)
    if np.isnan(scores).any():
        return math.nan, math.nan
    threshold, score = _middle_of_best(scores)
    return threshold, -score if METRICS[metric].lower_is_better else score


def _middle_of_best(scores: Scores) -> tuple[float, float]:
    """Return the threshold in the middle of those with the highest score, and that score."""
    winners = np.flatnonzero(scores == scores.max())
    cut = int(winners[len(winners) // 2])
    return (cut + 0.5) / (LEVELS - 1), float(scores[cut])


def oracle_columns(histograms: Histogram, empty_masks: str) -> dict[str, float]:
    """Return the F1 that the best threshold would have given, had it been chosen on these very images.

    It is defined as ``f1`` beside it, so that the difference is what the choice of the threshold costs. It is no
    result: it knows the masks that it is scored by.

    Parameters
    ----------
    histograms : (N, 2, 256) array
        One image is the micro average.
    empty_masks : {'one', 'skip'}

    Returns
    -------
    dict
        ``oracle_f1`` and ``oracle_threshold``; of equally good thresholds the middle one. NaN where no image counts.
    """
    scores = score_at_cuts(histograms, "f1", "macro", empty_masks)
    threshold, score = (math.nan, math.nan) if np.isnan(scores).all() else _middle_of_best(np.nan_to_num(scores))
    return {"oracle_f1": score, "oracle_threshold": threshold}
