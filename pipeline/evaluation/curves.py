"""Curves over all levels, computed from joint histograms: precision, recall, F and ROC, their maxima and areas.

At level ``k``, 0 to 256, a pixel is foreground if its grey level is at least ``k``: all pixels at 0, none at 256. Every
threshold in [0, 1) corresponds to one of the levels 1 to 255: see `thresholds`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.core.counts import LEVELS, Confusion, Histogram, confusion, max_f
from pipeline.evaluation.scores import BETA2_SALIENT, Scores, f_beta, ratio

CURVE_POINTS = LEVELS + 1
"""Points of a curve."""


class Curves(NamedTuple):
    """Curves over the levels 0 to 256, (..., 257) each.

    Parameters
    ----------
    precision
        0 if no pixel is predicted as foreground.
    recall
        Also called true positive rate; NaN without foreground.
    fpr
        False positive rate; NaN without background.
    """

    precision: Scores
    recall: Scores
    fpr: Scores


def thresholds() -> NDArray[np.float64]:
    """Return the threshold of each level: midway between two levels, outside [0, 1] at both ends."""
    return (np.arange(CURVE_POINTS) - 0.5) / (LEVELS - 1)


def counts_at_levels(histogram: Histogram) -> Confusion:
    """Return the confusion counts of (..., 2, 256) histograms at all levels, (..., 257) arrays."""
    # an empty level is inserted before the others: at level 0 every pixel is predicted foreground
    return confusion(np.insert(histogram, 0, 0, axis=-1))


def curves(histogram: Histogram) -> Curves:
    """Return the curves of (..., 2, 256) histograms."""
    counts = counts_at_levels(histogram)
    positives, negatives = counts.tp[..., :1], counts.fp[..., :1]
    with np.errstate(invalid="ignore", divide="ignore"):
        return Curves(
            precision=counts.tp / np.maximum(counts.tp + counts.fp, 1),
            recall=counts.tp / positives,
            fpr=counts.fp / negatives,
        )


def roc_auc(histogram: Histogram) -> Scores:
    """Area under the ROC curve: the probability that a foreground pixel has a higher rank than a background pixel.

    Hanley, McNeil (Radiology 1982): the Mann-Whitney statistic, in which equal ranks count half; it equals the
    trapezoidal area over all ranks.

    Parameters
    ----------
    histogram : (..., 2, R) array
        Of the 256 levels, or of the finer ranks of `pipeline.core.fine_levels.rank_histogram`.

    Returns
    -------
    (...) array of float64
        NaN without foreground or without background.
    """
    background, foreground = histogram[..., 0, :], histogram[..., 1, :]
    lower_background = np.cumsum(background, axis=-1) - 0.5 * background
    # float64, because the product for a large data set exceeds 64-bit integers
    pairs = background.sum(axis=-1, dtype=np.float64) * foreground.sum(axis=-1)
    return ratio((foreground * lower_background).sum(axis=-1), pairs, np.nan)


def average_precision(histogram: Histogram) -> Scores:
    """Area under the precision-recall curve as average precision: sum of (R_k - R_{k+1}) P_k over the ranks.

    A sum of steps without interpolation, like scikit-learn's `average_precision_score`: the trapezoidal area is too
    high (Davis, Goadrich, ICML 2006).

    Parameters
    ----------
    histogram : (..., 2, R) array
        As for `roc_auc`.

    Returns
    -------
    (...) array of float64
        NaN without foreground.
    """
    points = curves(histogram)
    return np.asarray((-np.diff(points.recall, axis=-1) * points.precision[..., :-1]).sum(axis=-1))


def max_f_of_mean_curve(histograms: Histogram, beta2: float) -> float:
    """Maximum of the mean of the F curves of several images, the definition of PySODMetrics.

    Parameters and result have the form of `pipeline.core.counts.max_f`, but the numbers differ.
    """
    points = curves(with_foreground(histograms))
    if not len(points.recall):
        return float("nan")
    return float(f_beta(points.precision, points.recall, beta2).mean(axis=0).max())


def with_foreground(histograms: Histogram) -> Histogram:
    """Select the images with nonempty masks from (N, 2, 256) histograms."""
    return np.asarray(histograms[histograms[:, 1].any(axis=-1)])


MAX_F = {
    "max_f03_of_mean_pr": ("maxF 0.3 of mean PR", max_f, BETA2_SALIENT),
    "max_f03_of_mean_curve": ("maxF 0.3 of mean curve", max_f_of_mean_curve, BETA2_SALIENT),
    "max_f1_of_mean_pr": ("maxF 1 of mean PR", max_f, 1.0),
    "max_f1_of_mean_curve": ("maxF 1 of mean curve", max_f_of_mean_curve, 1.0),
}
"""Label, definition and beta^2 by column name. For one histogram (micro average) both definitions are equal."""


def max_f_columns(histograms: Histogram) -> dict[str, float]:
    """Return all of `MAX_F` for (N, 2, 256) histograms."""
    return {name: function(histograms, beta2) for name, (_, function, beta2) in MAX_F.items()}
