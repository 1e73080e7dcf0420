"""Find the threshold with the best score over all images: the score is computed at every level of the probabilities."""

import math

import numpy as np

from pipeline.core.counts import LEVELS, Histogram, confusion
from pipeline.evaluation.metrics import METRICS
from pipeline.evaluation.scores import EMPTY_VALUES, Scores


def score_at_levels(histograms: Histogram, metric: str, averaging: str, empty_masks: str = "one") -> Scores:
    """Compute a score at every level that a threshold in [0, 1) can correspond to.

    Parameters
    ----------
    histograms : (N, 2, 256) array
    metric : str
        A key of `pipeline.evaluation.metrics.CRITERIA`.
    averaging : {'micro', 'macro'}
        ``micro``: over all pixels of all images. ``macro``: mean over the images that have the score.
    empty_masks : {'one', 'skip'}
        ``macro`` only: the score of an image whose mask and prediction are both empty is 1, or excluded from the mean.
        With ``micro`` it is 1 if all masks and predictions are empty.

    Returns
    -------
    (255,) array of float64
        Indexed by the highest background level, 0 to 254. NaN if no image has the score. Negated if lower is better,
        so that the highest value is always the best.
    """
    pooled = averaging == "micro"
    counts = confusion(histograms.sum(axis=0, keepdims=True) if pooled else histograms)
    scores = METRICS[metric].function(counts, 1.0 if pooled else EMPTY_VALUES[empty_masks])[:, : LEVELS - 1]
    if METRICS[metric].lower_is_better:
        scores = -scores
    valid = ~np.isnan(scores)
    images = valid.sum(axis=0)
    sums = np.where(valid, scores, 0.0).sum(axis=0)
    return np.where(images > 0, sums / np.maximum(images, 1), np.nan)


def best_threshold(
    histograms: Histogram, metric: str = "f1", averaging: str = "micro", empty_masks: str = "one"
) -> tuple[float, float]:
    """Find the threshold with the best score.

    Parameters
    ----------
    histograms : (N, 2, 256) array
    metric, averaging, empty_masks
        See `score_at_levels`.

    Returns
    -------
    threshold, score : float
        The threshold is midway between two levels. Of several equally good thresholds it is the middle one, or the
        higher of the two middle ones. Both are NaN if the score is undefined at any threshold, as
        some metrics are if the masks have no foreground, or if no mask has both classes.
    """
    scores = score_at_levels(histograms, metric, averaging, empty_masks)
    if np.isnan(scores).any():
        return math.nan, math.nan
    threshold, score = _middle_of_best(scores)
    return threshold, -score if METRICS[metric].lower_is_better else score


def _middle_of_best(scores: Scores) -> tuple[float, float]:
    """Return the middle one of the thresholds with the highest score, and this score."""
    best_levels = np.flatnonzero(scores == scores.max())
    level = int(best_levels[len(best_levels) // 2])
    return (level + 0.5) / (LEVELS - 1), float(scores[level])


def oracle_columns(histograms: Histogram, empty_masks: str) -> dict[str, float]:
    """Return the F1 at the threshold that is best for these same images.

    It is defined like ``f1``, so that the difference is the cost of choosing the threshold on other samples. It is an
    upper bound, not a result, because its threshold is chosen with the masks that it is scored against.

    Parameters
    ----------
    histograms : (N, 2, 256) array
        The pooled histogram of all images, N = 1, gives the micro average.
    empty_masks : {'one', 'skip'}

    Returns
    -------
    dict
        ``oracle_f1`` and ``oracle_threshold``; of equally good thresholds the middle one. NaN if no image counts.
    """
    scores = score_at_levels(histograms, "f1", "macro", empty_masks)
    threshold, score = (math.nan, math.nan) if np.isnan(scores).all() else _middle_of_best(np.nan_to_num(scores))
    return {"oracle_f1": score, "oracle_threshold": threshold}
