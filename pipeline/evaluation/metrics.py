"""The scores that are reported; those of confusion counts are defined in `pipeline.evaluation.scores`."""

from collections.abc import Callable

import numpy as np

from pipeline.core.counts import Confusion, Histogram, dice
from pipeline.evaluation.scores import Scores, accuracy, f1, iou, mcc, precision, ratio, recall, specificity


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
    return ratio((foreground * below).sum(axis=-1), pairs, np.nan)


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
