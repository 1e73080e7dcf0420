"""Intervals of the scores of a summary."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.core.counts import LEVELS, Confusion, Histogram, max_f
from pipeline.evaluation.bootstrap import Interval, Weights, blocks, interval_of_each, resampled_means, weighted_sums
from pipeline.evaluation.classes import Joint, one_against_rest, pixel_accuracy
from pipeline.evaluation.curves import CUTS, MAX_F, curves
from pipeline.evaluation.metrics import OF_CLASSES, compute, two_class_scores
from pipeline.evaluation.scores import Scores, f_beta

Intervals = Mapping[str, Interval]
"""Column of the summary to its interval."""

_FEW = 5  # images with at most 126 different resamples


def f1_bounds(found: Intervals) -> dict[str, float]:
    """Return the columns of a summary that tell the interval of F1."""
    return {"f1_low": found["f1"].low, "f1_high": found["f1"].high}


def two_class_intervals(
    weights: Weights, histograms: Histogram, scores: Mapping[str, Scores], cut: int, empty_masks: str
) -> dict[str, dict[str, Interval]]:
    """Return the intervals of all scores of two classes.

    Parameters
    ----------
    weights : (B, N) array
        See `pipeline.evaluation.bootstrap.resampling_weights`.
    histograms : (N, 2, 256) array
    scores : mapping of str to (N,) array
        Scores of the images, NaN where an image has none.
    cut : int
        Levels above it are foreground.
    empty_masks : {'one', 'skip'}

    Returns
    -------
    dict
        ``macro`` and ``micro`` to the intervals by column of the summary.
    """
    # few images have few resamples that differ: each of them is scored once
    places: NDArray[np.int64] | slice = slice(None)
    if len(histograms) <= _FEW:
        weights, places = np.unique(weights, axis=0, return_inverse=True)
    pooled, means = resampled_histograms(weights, histograms)
    macro = dict(zip(scores, resampled_means(weights, np.stack([*scores.values()], axis=1)).T, strict=True))
    images = {name: int(np.count_nonzero(~np.isnan(values))) for name, values in scores.items()}
    images |= dict.fromkeys(MAX_F, int(np.count_nonzero(histograms[:, 1].any(axis=-1))))
    points = curves(pooled)
    micro = two_class_scores(pooled, cut, empty_masks)
    for name, (_, definition, beta2) in MAX_F.items():
        by_level = f_beta(means["precision"], means["recall"], beta2) if definition is max_f else means[name]
        macro[name] = by_level.max(axis=-1)
        # of one histogram both definitions of a maximum are one number
        micro[name] = f_beta(points.precision, points.recall, beta2).max(axis=-1)

    def named(samples: Mapping[str, Scores], images: Mapping[str, int]) -> dict[str, Interval]:
        values = np.stack([*samples.values()], axis=1)[places]
        return dict(zip(samples, interval_of_each(values, np.array([images[name] for name in samples])), strict=True))

    return {"macro": named(macro, images), "micro": named(micro, dict.fromkeys(micro, len(histograms)))}


def resampled_histograms(weights: Weights, histograms: Histogram) -> tuple[Histogram, dict[str, Scores]]:
    """Return what all pixels of a resample are, and the mean curves of its images.

    Parameters
    ----------
    weights : (B, N) array
    histograms : (N, 2, 256) array

    Returns
    -------
    (B, 2, 256) array of int64
        Summed histograms.
    dict of str to (B, 257) array
        ``precision``, ``recall``, and under the names that `MAX_F` has for maxima of mean curves, F: means over the
        images whose masks are not empty, NaN in a resample without any.
    """
    # curves of some images at a time: those of all of them need many times the memory of the histograms
    beta2 = {name: value for name, (_, definition, value) in MAX_F.items() if definition is not max_f}
    names = ("precision", "recall", *beta2)
    width = 2 * LEVELS
    total = np.zeros((len(weights), width + CUTS * len(names) + 1))
    for some in blocks(len(histograms)):
        its = histograms[some]
        shown = its[:, 1].sum(axis=-1) > 0
        points = curves(its)
        lines = [points.precision, points.recall, *(f_beta(*points[:2], value) for value in beta2.values())]
        columns = np.concatenate([its.reshape(len(its), width), *(np.where(shown[:, None], x, 0) for x in lines)], 1)
        total += weighted_sums(weights[:, some], np.concatenate([columns, shown[:, None]], axis=1))
    pooled: Histogram = np.rint(total[:, :width]).astype(np.int64).reshape(-1, 2, LEVELS)
    images = total[:, -1:]
    sums = np.split(total[:, width:-1], len(names), axis=1)
    return pooled, {
        name: np.where(images > 0, values / np.maximum(images, 1), np.nan)
        for name, values in zip(names, sums, strict=True)
    }


def class_intervals(
    weights: Weights, joint: Joint, scores: Mapping[str, Scores], empty_masks: str
) -> dict[str, list[dict[str, Interval]]]:
    """Return the intervals of all scores of several classes.

    Parameters
    ----------
    weights : (B, N) array
    joint : (N, K, K) array
    scores : mapping of str to (N, K) array
        Scores of the images, NaN where an image has none of a class.
    empty_masks : {'one', 'skip'}

    Returns
    -------
    dict
        ``macro`` and ``micro`` to the intervals of each class by column of the summary, and last those of the mean over
        the foreground classes.
    """
    images, classes = joint.shape[:2]
    macro = {}
    for name, values in scores.items():
        known = ~np.isnan(values)
        number = [*known.sum(axis=0), known[:, 1:].any(axis=1).sum()]
        macro[name] = interval_of_each(_with_mean(resampled_means(weights, values)), np.array(number))
    counts = np.stack(one_against_rest(joint), axis=1).reshape(images, -1)
    right = np.stack([np.trace(joint, axis1=1, axis2=2), joint.sum(axis=(1, 2))], axis=1)
    sums = weighted_sums(weights, np.concatenate([counts, right], axis=1))
    pooled = Confusion(*np.rint(sums[:, :-2]).astype(np.int64).reshape(-1, 4, classes).swapaxes(0, 1))
    micro = {
        name: interval_of_each(_with_mean(values), np.full(classes + 1, images))
        for name, values in compute(OF_CLASSES, pooled, empty_masks).items()
    }
    found = {
        averaging: [{name: each[index] for name, each in by_name.items()} for index in range(classes + 1)]
        for averaging, by_name in (("macro", macro), ("micro", micro))
    }
    accuracy = pixel_accuracy(joint)[:, None]
    seen = np.count_nonzero(~np.isnan(accuracy), axis=0)
    (found["macro"][-1]["accuracy"],) = interval_of_each(resampled_means(weights, accuracy), seen)
    with np.errstate(invalid="ignore"):
        shares = sums[:, -2:-1] / sums[:, -1:]
    (found["micro"][-1]["accuracy"],) = interval_of_each(shares, np.array([images]))
    return found


def _with_mean(values: Scores) -> Scores:
    """Add to (B, K) scores of classes their mean over the foreground classes that have one: (B, K + 1)."""
    there = ~np.isnan(values[:, 1:])
    counts = there.sum(axis=1)
    means = np.where(there, values[:, 1:], 0.0).sum(axis=1) / np.maximum(counts, 1)
    return np.column_stack([values, np.where(counts > 0, means, np.nan)])
