"""The score of the TGS salt identification challenge (Kaggle, 2018)."""

import numpy as np

from pipeline.core.counts import Confusion, dice
from pipeline.evaluation.scores import Scores

IOU_PERCENT = tuple(range(50, 100, 5))
"""IoU thresholds, in per cent: 0.50 to 0.95 in steps of 0.05."""


def tgs_score(counts: Confusion, empty: float = 1.0) -> Scores:
    """Return the share of ten IoU thresholds that each picture's IoU lies above.

    The challenge's mean average precision, with one object at most in each picture. A picture whose mask and
    prediction both are empty scores 1, whatever the policy for empty masks; one of them alone scores 0. Where no pixel
    counts it is NaN.

    Parameters
    ----------
    counts : Confusion of (...) arrays

    Returns
    -------
    (...) array of float64, values 0, 0.1 ... 1
    """
    union = np.asarray(counts.tp + counts.fp + counts.fn)
    # whole numbers: 0.55 as a float is no 55 / 100
    hits = 100 * np.asarray(counts.tp)[..., None] > np.array(IOU_PERCENT) * union[..., None]
    return np.where(union == 0, dice(counts), hits.mean(axis=-1))
