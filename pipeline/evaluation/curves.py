"""What follows from one joint histogram at all levels at once: precision, recall and F curves, their maxima, PR area.

At level ``k``, 0 to 256, a pixel is foreground where its grey level is at least ``k``: at 0 everything is, at 256
nothing. Every threshold in [0, 1) is one of the levels 1 to 255: see `thresholds`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.core.counts import LEVELS, Confusion, Histogram, dice, max_f
from pipeline.evaluation.scores import BETA2_SALIENT, EMPTY_VALUES, Scores, f_beta

CUTS = LEVELS + 1
"""Points of a curve."""


class Curves(NamedTuple):
    """Curves over the levels 0 to 256, (..., 257) each.

    Parameters
    ----------
    precision
        0 where nothing is predicted.
    recall
        Also called true positive rate; NaN where there is no foreground.
    fpr
        False positive rate; NaN where there is no background.
    """

    precision: Scores
    recall: Scores
    fpr: Scores


def thresholds() -> NDArray[np.float64]:
    """Return for each level the threshold that asks for it: midway between two levels, outside [0, 1] at both ends."""
    return (np.arange(CUTS) - 0.5) / (LEVELS - 1)


def counts_at_levels(histogram: Histogram) -> Confusion:
    """Return the confusion counts at all levels.

    Parameters
    ----------
    histogram : (..., 2, 256) array

    Returns
    -------
    Confusion of (..., 257) arrays
    """
    below = np.concatenate([np.zeros_like(histogram[..., :1]), np.cumsum(histogram, axis=-1)], axis=-1)
    total = below[..., -1:]
    tn, fn = below[..., 0, :], below[..., 1, :]
    return Confusion(tp=total[..., 1, :] - fn, fp=total[..., 0, :] - tn, fn=fn, tn=tn)


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


def average_precision(histogram: Histogram) -> Scores:
    """Area under the precision-recall curve as average precision: sum of (R_k - R_{k+1}) P_k over the levels.

    A step at each level, without interpolation, as scikit-learn's `average_precision_score` has it: the trapezoidal
    area is too high (Davis, Goadrich, ICML 2006).

    Parameters
    ----------
    histogram : (..., 2, 256) array

    Returns
    -------
    (...) array of float64
        NaN where there is no foreground.
    """
    points = curves(histogram)
    return np.asarray((-np.diff(points.recall, axis=-1) * points.precision[..., :-1]).sum(axis=-1))


def max_f_of_mean_pr(histograms: Histogram, beta2: float) -> float:
    """Highest F over the levels, of the mean precision and the mean recall of several pictures.

    Achanta et al. (CVPR 2009), eq. 6, as U2-Net's evaluation has it. Pictures with empty masks are left out.

    Parameters
    ----------
    histograms : (N, 2, 256) array
    beta2 : float

    Returns
    -------
    float
        NaN where all masks are empty.
    """
    return max_f(histograms, beta2)


def max_f_of_mean_curve(histograms: Histogram, beta2: float) -> float:
    """Highest point of the mean of the F curves of several pictures, one curve each, as PySODMetrics has it.

    Parameters and result are as those of `max_f_of_mean_pr`, and the numbers differ.
    """
    points = curves(with_foreground(histograms))
    if not len(points.recall):
        return float("nan")
    return float(f_beta(points.precision, points.recall, beta2).mean(axis=0).max())


def with_foreground(histograms: Histogram) -> Histogram:
    """Take the pictures out of (N, 2, 256) histograms whose masks are not empty."""
    some: Histogram = histograms[histograms[:, 1].sum(axis=-1) > 0]
    return some


MAX_F = {
    "max_f03_of_mean_pr": (max_f_of_mean_pr, BETA2_SALIENT),
    "max_f03_of_mean_curve": (max_f_of_mean_curve, BETA2_SALIENT),
    "max_f1_of_mean_pr": (max_f_of_mean_pr, 1.0),
    "max_f1_of_mean_curve": (max_f_of_mean_curve, 1.0),
}
"""Column name to definition and beta^2. For one histogram (micro average) both definitions are one number."""


def max_f_columns(histograms: Histogram) -> dict[str, float]:
    """Return all of `MAX_F` for (N, 2, 256) histograms."""
    return {name: function(histograms, beta2) for name, (function, beta2) in MAX_F.items()}


def oracle_columns(histograms: Histogram, empty_masks: str) -> dict[str, float]:
    """Return the F1 that the best threshold would have given, had it been chosen on these very pictures.

    It is defined as ``f1`` beside it, so that the difference is what the choice of the threshold costs. It is no
    result: it knows the masks that it is scored by.

    Parameters
    ----------
    histograms : (N, 2, 256) array
        One picture is the micro average.
    empty_masks : {'one', 'skip'}

    Returns
    -------
    dict
        ``oracle_f1`` and ``oracle_threshold``; of equally good thresholds the middle one. NaN where no picture counts.
    """
    scores = dice(counts_at_levels(histograms), EMPTY_VALUES[empty_masks])[:, 1:LEVELS]  # thresholds inside [0, 1)
    counted = ~np.isnan(scores)
    total = counted.sum(axis=0)
    if not total.any():
        return {"oracle_f1": float("nan"), "oracle_threshold": float("nan")}
    means = np.where(counted, scores, 0.0).sum(axis=0) / np.maximum(total, 1)
    winners = np.flatnonzero(means == means.max())
    best = int(winners[len(winners) // 2])
    return {"oracle_f1": float(means[best]), "oracle_threshold": float(thresholds()[1 + best])}


def curve_table(said: Mapping[str, Any], histograms: Histogram) -> pd.DataFrame:
    """Write the curves of several pictures as rows.

    Parameters
    ----------
    said : mapping
        What the numbers depend on; the same in every row.
    histograms : (N, 2, 256) array

    Returns
    -------
    DataFrame
        257 rows for the mean over pictures (macro) and 257 for all pixels together (micro).
    """
    shown = with_foreground(histograms)
    background = histograms[histograms[:, 0].sum(axis=-1) > 0]
    pooled = histograms.sum(axis=0, keepdims=True)
    tables = []
    for averaging, some, others, images in (
        ("macro", shown, background, len(shown)),
        ("micro", pooled, pooled, len(histograms)),
    ):
        points, fpr = curves(some), curves(others).fpr
        columns = {
            "precision": points.precision,
            "recall": points.recall,
            "f1": f_beta(points.precision, points.recall, 1.0),
            "f03": f_beta(points.precision, points.recall, BETA2_SALIENT),
            "tpr": points.recall,
            "fpr": fpr,
        }
        tables.append(
            pd.DataFrame(
                {
                    **{key: [value] * CUTS for key, value in said.items()},
                    "averaging": averaging,
                    "images": images,
                    "level": np.arange(CUTS),
                    "threshold": thresholds(),
                    **{
                        name: values.mean(axis=0) if len(values) else np.full(CUTS, np.nan)
                        for name, values in columns.items()
                    },
                }
            )
        )
    return pd.concat(tables, ignore_index=True)
