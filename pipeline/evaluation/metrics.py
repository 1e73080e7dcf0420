"""The table of all metrics, which commands, score tables and the report are built from."""

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.core.counts import Confusion, Histogram, absolute_error, confusion, dice, soft_absolute_error
from pipeline.evaluation import contours, scores
from pipeline.evaluation.curves import average_precision, roc_auc
from pipeline.evaluation.scores import EMPTY_VALUES, Scores


class Visibility(IntEnum):
    """Where a score is shown by default; a higher value includes all places of lower values."""

    NOWHERE = 0
    PAGE = 1
    TERMINAL = 2
    NARROW_PAGE = 3


class Metric(NamedTuple):
    """A score of images.

    Parameters
    ----------
    function : callable
        Returns float64. Its arguments depend on `input`: confusion counts and the value for an image whose mask and
        prediction are both empty; a (..., 2, 256) histogram; one of ranks, see `SplitCounts.ranks`; counts, that value
        and the result of `pipeline.evaluation.contours.contour_scores`; or the arguments of
        `pipeline.core.counts.soft_absolute_error`.
    label : str
        Heading in tables and figures.
    input : {'counts', 'histogram', 'ranks', 'contours', 'soft'}
        Input of the function; metrics of soft masks exist only for data sets with such masks.
    lower_is_better : bool
    empty_matters : bool
        Whether the score depends on the value for empty images.
    criterion : bool
        Whether a threshold may be chosen by it; only for metrics of counts.
    macro_only : bool
        Whether it is defined only for single images, not for all pixels of several images (micro average).
    per_class : bool
        Whether it is computed for each of several classes, against all others.
    reported : bool
        Whether it is a column of the score tables.
    compared : bool
        Whether pairs of methods are compared by it. Each such metric adds comparisons on the same images.
    visibility : Visibility
    """

    function: Callable[..., Scores]
    label: str
    input: Literal["counts", "histogram", "ranks", "contours", "soft"] = "counts"
    lower_is_better: bool = False
    empty_matters: bool = True
    criterion: bool = False
    macro_only: bool = False
    per_class: bool = True
    reported: bool = True
    compared: bool = False
    visibility: Visibility = Visibility.NOWHERE


METRICS: dict[str, Metric] = {
    "f1": Metric(dice, "F1", criterion=True, compared=True, visibility=Visibility.NARROW_PAGE),
    "dice": Metric(dice, "Dice"),  # equals F1 for binary masks, reported under both names
    "iou": Metric(scores.iou, "IoU", criterion=True, compared=True, visibility=Visibility.NARROW_PAGE),
    "precision": Metric(scores.precision, "Precision", visibility=Visibility.TERMINAL),
    "recall": Metric(scores.recall, "Recall", visibility=Visibility.TERMINAL),
    "specificity": Metric(scores.specificity, "Specificity", empty_matters=False, visibility=Visibility.PAGE),
    "accuracy": Metric(
        scores.accuracy,
        "Accuracy",
        empty_matters=False,
        criterion=True,
        per_class=False,
        visibility=Visibility.TERMINAL,
    ),
    "mcc": Metric(scores.mcc, "MCC", criterion=True),
    "tgs_score": Metric(
        scores.tgs_score, "TGS score", empty_matters=False, criterion=True, macro_only=True, per_class=False
    ),
    "f03": Metric(scores.f03, "F with beta² 0.3", criterion=True, reported=False),
    "youden": Metric(scores.youden, "Youden's J", empty_matters=False, criterion=True, reported=False),
    "mae": Metric(
        absolute_error, "MAE", "histogram", lower_is_better=True, compared=True, visibility=Visibility.TERMINAL
    ),
    "mae_soft": Metric(
        soft_absolute_error, "MAE, soft masks", "soft", lower_is_better=True, visibility=Visibility.TERMINAL
    ),
    "roc_auc": Metric(roc_auc, "ROC AUC", "ranks", visibility=Visibility.TERMINAL),
    "pr_auc": Metric(average_precision, "Average precision", "ranks", visibility=Visibility.PAGE),
    contours.BOUNDARY_DICE: Metric(contours.boundary_dice, "Boundary Dice 2 px", "contours"),
    contours.HAUSDORFF: Metric(
        contours.hausdorff, "HD95 (px)", "contours", lower_is_better=True, visibility=Visibility.PAGE
    ),
}
"""Metric by column name, in the order in which they are shown."""

REPORTED = {name: metric for name, metric in METRICS.items() if metric.input == "counts" and metric.reported}
"""Metrics of counts that are columns of the score tables."""

POOLED = {name: metric for name, metric in REPORTED.items() if not metric.macro_only}
"""Metrics of `REPORTED` that are also defined for all pixels of several images (micro average)."""

CLASS_METRICS = {name: metric for name, metric in POOLED.items() if metric.per_class}
"""Metrics of `POOLED` that are computed for each class."""

CONTOUR_METRICS = {name: metric for name, metric in METRICS.items() if metric.input == "contours"}

CRITERIA = {name: metric for name, metric in METRICS.items() if metric.criterion}
"""Metrics that a threshold may be chosen by."""


def compute(
    metrics: Mapping[str, Metric], counts: Confusion, empty_masks: str, *contour_values: Scores
) -> dict[str, Scores]:
    """Compute metrics of counts or contours by name, with a policy for empty masks (a key of `EMPTY_VALUES`)."""
    return {
        name: metric.function(counts, EMPTY_VALUES[empty_masks], *contour_values) for name, metric in metrics.items()
    }


def class_scores(
    metrics: Mapping[str, Metric], counts: Confusion, empty_masks: str, *contour_values: Scores
) -> dict[str, Scores]:
    """Compute metrics of each of several classes against all others, by column name.

    With the policy ``skip``, a class that neither mask nor prediction contains has no score at all (NaN): not even
    specificity, which would be 1 and hide in the mean over the classes how many of them have the other scores.
    """
    by_name = compute(metrics, counts, empty_masks, *contour_values)
    if empty_masks != "skip":
        return by_name
    absent = counts.tp + counts.fp + counts.fn == 0
    return {name: np.where(absent, np.nan, values) for name, values in by_name.items()}


def two_class_scores(
    histogram: Histogram,
    ranks: Histogram,
    level: int,
    empty_masks: str,
    metrics: Mapping[str, Metric] = POOLED,
    distances: NDArray[np.float64] | None = None,
) -> dict[str, Scores]:
    """Compute all metrics of (..., 2, 256) histograms and of ranks (..., 2, R), and the given metrics of counts.

    The result is by column name. With the (...) `distances` from soft masks (see `soft_absolute_error`), it has metrics
    of soft masks too.
    """
    inputs: dict[str, tuple[NDArray[Any], ...]] = {"histogram": (histogram,), "ranks": (ranks,)}
    if distances is not None:
        inputs["soft"] = (distances, histogram.sum(axis=(-2, -1)))
    other_scores = {
        name: metric.function(*inputs[metric.input]) for name, metric in METRICS.items() if metric.input in inputs
    }
    return {**other_scores, **compute(metrics, confusion(histogram, level), empty_masks)}
