"""The scores that there are: those that follow from confusion counts in one table, and the area under the ROC curve."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from pipeline.core.counts import Confusion, Histogram, dice
from pipeline.evaluation.scores import (
    EMPTY_VALUES,
    Scores,
    accuracy,
    f03,
    iou,
    mcc,
    precision,
    ratio,
    recall,
    specificity,
    youden,
)
from pipeline.evaluation.tgs_score import tgs_score


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


class Metric(NamedTuple):
    """A score that follows from confusion counts.

    Parameters
    ----------
    function : callable
        Gives float64 for counts and for the value of a picture whose mask and prediction both are empty.
    label : str
        What the page calls it.
    lower_is_better : bool
    empty_matters : bool
        Whether that value is ever used.
    criterion : bool
        Whether a threshold may be chosen by it.
    macro_only : bool
        Whether only single pictures have it.
    of_classes : bool
        Whether each of several classes has one, against all others.
    reported : bool
        Whether it is a column of the tables of scores.
    shown : bool
        Whether the page shows it at first.
    """

    function: Callable[[Confusion, float], Scores]
    label: str
    lower_is_better: bool = False
    empty_matters: bool = True
    criterion: bool = False
    macro_only: bool = False
    of_classes: bool = True
    reported: bool = True
    shown: bool = False


METRICS: dict[str, Metric] = {
    "f1": Metric(dice, "F1", criterion=True, shown=True),
    "dice": Metric(dice, "Dice"),  # one number for two-valued masks, under both of its names
    "iou": Metric(iou, "IoU", criterion=True, shown=True),
    "precision": Metric(precision, "Precision", shown=True),
    "recall": Metric(recall, "Recall", shown=True),
    "specificity": Metric(specificity, "Specificity", empty_matters=False, shown=True),
    "accuracy": Metric(accuracy, "Accuracy", empty_matters=False, criterion=True, of_classes=False, shown=True),
    "mcc": Metric(mcc, "MCC", criterion=True),
    "tgs_score": Metric(tgs_score, "TGS score", empty_matters=False, criterion=True, macro_only=True, of_classes=False),
    "f03": Metric(f03, "F with beta² 0.3", criterion=True, reported=False),
    "youden": Metric(youden, "Youden's J", empty_matters=False, criterion=True, reported=False),
}
"""Column name to metric, in the order of the reports."""

REPORTED = {name: metric for name, metric in METRICS.items() if metric.reported}
"""Metrics of single pictures that are columns of the tables."""

POOLED = {name: metric for name, metric in REPORTED.items() if not metric.macro_only}
"""Those of them that all pixels together have, too."""

OF_CLASSES = {name: metric for name, metric in POOLED.items() if metric.of_classes}
"""Those of them that a class has of its own."""

CRITERIA = {name: metric for name, metric in METRICS.items() if metric.criterion}
"""What a threshold may be chosen by."""


def compute(metrics: dict[str, Metric], counts: Confusion, empty_masks: str) -> dict[str, Scores]:
    """Compute some metrics, by name, under a policy for empty masks (`EMPTY_VALUES`)."""
    return {name: metric.function(counts, EMPTY_VALUES[empty_masks]) for name, metric in metrics.items()}
