"""What a threshold may be chosen by: a score of all pictures together, at each of the levels that cut probabilities."""

import numpy as np

from pipeline.core.counts import LEVELS, Histogram, confusion
from pipeline.evaluation.metrics import CRITERIA
from pipeline.evaluation.scores import EMPTY_VALUES, Scores


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
        By the highest level that is background, 0 to 254. NaN where no picture has the score. Where less is better, the
        negative of the score.
    """
    pooled = averaging == "micro"
    counts = confusion(histograms.sum(axis=0, keepdims=True) if pooled else histograms)
    criterion = CRITERIA[metric]
    scores = criterion.function(counts, 1.0 if pooled else EMPTY_VALUES[empty_masks])[:, : LEVELS - 1]
    if criterion.lower_is_better:
        scores = -scores
    counted = ~np.isnan(scores)
    total = counted.sum(axis=0)
    sums = np.where(counted, scores, 0.0).sum(axis=0)
    return np.where(total > 0, sums / np.maximum(total, 1), np.nan)
