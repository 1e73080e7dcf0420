"""The scores that there are, in one table: commands, tables of scores and the page take theirs from it."""

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Literal, NamedTuple

from pipeline.core.counts import Confusion, Histogram, absolute_error, confusion, dice
from pipeline.evaluation import contours, scores
from pipeline.evaluation.curves import average_precision, roc_auc
from pipeline.evaluation.scores import EMPTY_VALUES, Scores


class Shown(IntEnum):
    """Where a score is shown before anybody asks for it: each place has the scores of the next one and more."""

    NOWHERE = 0
    PAGE = 1
    TERMINAL = 2
    NARROW_PAGE = 3


class Metric(NamedTuple):
    """A score of single images.

    Parameters
    ----------
    function : callable
        Gives float64. Takes confusion counts and the value of an image whose mask and prediction both are empty; or a
        (..., 2, 256) histogram; or counts, that value and what `pipeline.evaluation.contours.contour_scores` gives.
    label : str
        What people read.
    of : {'counts', 'histogram', 'contours'}
        What the function takes.
    lower_is_better : bool
    empty_matters : bool
        Whether the value of empty images is ever used.
    criterion : bool
        Whether a threshold may be chosen by it; only of counts.
    macro_only : bool
        Whether all pixels together have none.
    of_classes : bool
        Whether each of several classes has one, against all others.
    reported : bool
        Whether it is a column of the tables of scores.
    compared : bool
        Whether everything scored is compared by it, pair by pair. Each one more is a question more that is asked of the
        same images.
    shown : Shown
    """

    function: Callable[..., Scores]
    label: str
    of: Literal["counts", "histogram", "contours"] = "counts"
    lower_is_better: bool = False
    empty_matters: bool = True
    criterion: bool = False
    macro_only: bool = False
    of_classes: bool = True
    reported: bool = True
    compared: bool = False
    shown: Shown = Shown.NOWHERE


METRICS: dict[str, Metric] = {
    "f1": Metric(dice, "F1", criterion=True, compared=True, shown=Shown.NARROW_PAGE),
    "dice": Metric(dice, "Dice"),  # one number for two-valued masks, under both of its names
    "iou": Metric(scores.iou, "IoU", criterion=True, compared=True, shown=Shown.NARROW_PAGE),
    "precision": Metric(scores.precision, "Precision", shown=Shown.TERMINAL),
    "recall": Metric(scores.recall, "Recall", shown=Shown.TERMINAL),
    "specificity": Metric(scores.specificity, "Specificity", empty_matters=False, shown=Shown.PAGE),
    "accuracy": Metric(
        scores.accuracy, "Accuracy", empty_matters=False, criterion=True, of_classes=False, shown=Shown.TERMINAL
    ),
    "mcc": Metric(scores.mcc, "MCC", criterion=True),
    "tgs_score": Metric(
        scores.tgs_score, "TGS score", empty_matters=False, criterion=True, macro_only=True, of_classes=False
    ),
    "f03": Metric(scores.f03, "F with beta² 0.3", criterion=True, reported=False),
    "youden": Metric(scores.youden, "Youden's J", empty_matters=False, criterion=True, reported=False),
    "mae": Metric(absolute_error, "MAE", "histogram", lower_is_better=True, compared=True, shown=Shown.TERMINAL),
    "roc_auc": Metric(roc_auc, "ROC area", "histogram", shown=Shown.TERMINAL),
    "pr_auc": Metric(average_precision, "PR area", "histogram", shown=Shown.PAGE),
    contours.BOUNDARY_DICE: Metric(contours.boundary_dice, "Boundary Dice 2 px", "contours"),
    contours.HAUSDORFF: Metric(contours.hausdorff, "HD95 (px)", "contours", lower_is_better=True, shown=Shown.PAGE),
}
"""Column name to metric, in the order in which people are shown them."""

REPORTED = {name: metric for name, metric in METRICS.items() if metric.of == "counts" and metric.reported}
"""Metrics of counts that are columns of the tables."""

POOLED = {name: metric for name, metric in REPORTED.items() if not metric.macro_only}
"""Those of them that all pixels together have, too."""

OF_CLASSES = {name: metric for name, metric in POOLED.items() if metric.of_classes}
"""Those of them that a class has of its own."""

OF_CONTOURS = {name: metric for name, metric in METRICS.items() if metric.of == "contours"}

CRITERIA = {name: metric for name, metric in METRICS.items() if metric.criterion}
"""What a threshold may be chosen by."""


def compute(metrics: Mapping[str, Metric], counts: Confusion, empty_masks: str, *more: Scores) -> dict[str, Scores]:
    """Compute some metrics, by name, of counts or contours under a policy for empty masks (`EMPTY_VALUES`)."""
    return {name: metric.function(counts, EMPTY_VALUES[empty_masks], *more) for name, metric in metrics.items()}


def two_class_scores(
    histogram: Histogram, cut: int, empty_masks: str, metrics: Mapping[str, Metric] = POOLED
) -> dict[str, Scores]:
    """Compute all metrics of (..., 2, 256) histograms, and some of their counts, by column name."""
    of_histogram = {name: metric.function(histogram) for name, metric in METRICS.items() if metric.of == "histogram"}
    return {**of_histogram, **compute(metrics, confusion(histogram, cut), empty_masks)}
