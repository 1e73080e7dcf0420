"""Confidence intervals of the scores of a summary."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.core.counts import LEVELS, Confusion, Histogram, max_f
from pipeline.evaluation.bootstrap import Interval, Weights, blocks, list_intervals, resampled_means, weighted_sums
from pipeline.evaluation.classes import ConfusionMatrix, one_vs_rest, pixel_accuracy
from pipeline.evaluation.curves import CURVE_POINTS, MAX_F, curves
from pipeline.evaluation.metrics import CLASS_METRICS, class_scores, two_class_scores
from pipeline.evaluation.scores import Scores, f_beta

Intervals = Mapping[str, Interval]
"""Interval by column of the summary."""

_MAX_UNIQUE_IMAGES = 5  # five images have 126 different resamples, fewer images have fewer


def f1_bounds(intervals: Intervals) -> dict[str, float]:
    """Return the columns of a summary with the interval of F1."""
    return {"f1_low": intervals["f1"].low, "f1_high": intervals["f1"].high}


def two_class_intervals(
    weights: Weights,
    histograms: Histogram,
    ranks: Histogram,
    scores: Mapping[str, Scores],
    level: int,
    empty_masks: str,
    distances: NDArray[np.float64] | None = None,
) -> dict[str, dict[str, Interval]]:
    """Return the confidence intervals of all scores of two classes.

    Parameters
    ----------
    weights : (B, N) array
        See `pipeline.evaluation.bootstrap.resampling_weights`.
    histograms : (N, 2, 256) array
    ranks : (N, 2, R) array
        See `pipeline.evaluation.regions.SplitCounts`.
    scores : mapping of str to (N,) array
        Scores of the images, NaN if an image has no score.
    level : int
        Levels above it are foreground.
    empty_masks : {'one', 'skip'}
    distances : (N,) array, optional
        From soft masks, see `two_class_scores`.

    Returns
    -------
    dict
        Intervals by column of the summary, under ``macro`` and ``micro``.
    """
    # few images have few different resamples: each of these is scored once
    unique_index: NDArray[np.int64] | slice = slice(None)
    if len(histograms) <= _MAX_UNIQUE_IMAGES:
        weights, unique_index = np.unique(weights, axis=0, return_inverse=True)
    pooled, means = resampled_histograms(weights, histograms)
    macro = dict(zip(scores, resampled_means(weights, np.stack([*scores.values()], axis=1)).T, strict=True))
    images = {name: int(np.count_nonzero(~np.isnan(values))) for name, values in scores.items()}
    images |= dict.fromkeys(MAX_F, int(np.count_nonzero(histograms[:, 1].any(axis=-1))))
    points = curves(pooled)
    pooled_distances = None if distances is None else weighted_sums(weights, distances[:, None])[:, 0]
    pooled_ranks = pooled if ranks is histograms else _pool(weights, ranks)
    micro = two_class_scores(pooled, pooled_ranks, level, empty_masks, distances=pooled_distances)
    for name, (_, definition, beta2) in MAX_F.items():
        by_level = f_beta(means["precision"], means["recall"], beta2) if definition is max_f else means[name]
        macro[name] = by_level.max(axis=-1)
        # for one histogram both definitions of the maximum are equal
        micro[name] = f_beta(points.precision, points.recall, beta2).max(axis=-1)

    def intervals_by_name(scores: Mapping[str, Scores], images: Mapping[str, int]) -> dict[str, Interval]:
        values = np.stack([*scores.values()], axis=1)[unique_index]
        return dict(zip(scores, list_intervals(values, np.array([images[name] for name in scores])), strict=True))

    micro_images = dict.fromkeys(micro, len(histograms))
    return {"macro": intervals_by_name(macro, images), "micro": intervals_by_name(micro, micro_images)}


def _pool(weights: Weights, histograms: Histogram) -> Histogram:
    """Return the summed (B, 2, R) histogram of each resample of (N, 2, R) histograms."""
    sums = weighted_sums(weights, histograms.reshape(len(histograms), -1))
    return np.rint(sums).astype(np.int64).reshape(-1, *histograms.shape[1:])


def resampled_histograms(weights: Weights, histograms: Histogram) -> tuple[Histogram, dict[str, Scores]]:
    """Return the summed histogram of each resample, and the mean curves over its images.

    Parameters
    ----------
    weights : (B, N) array
    histograms : (N, 2, 256) array

    Returns
    -------
    (B, 2, 256) array of int64
        Summed histograms.
    dict of str to (B, 257) array
        Means over the images with nonempty masks, NaN in a resample without any: of ``precision``, ``recall``, and of
        F, under the names that `MAX_F` has for maxima of mean curves.
    """
    # in blocks of images, because the curves of all images need many times the memory of the histograms
    beta2 = {name: value for name, (_, definition, value) in MAX_F.items() if definition is not max_f}
    names = ("precision", "recall", *beta2)
    width = 2 * LEVELS
    total = np.zeros((len(weights), width + CURVE_POINTS * len(names) + 1))
    for block in blocks(len(histograms)):
        part = histograms[block]
        nonempty = part[:, 1].sum(axis=-1) > 0
        points = curves(part)
        lines = [points.precision, points.recall, *(f_beta(*points[:2], value) for value in beta2.values())]
        lines = [np.where(nonempty[:, None], line, 0) for line in lines]
        columns = np.concatenate([part.reshape(len(part), width), *lines, nonempty[:, None]], axis=1)
        total += weighted_sums(weights[:, block], columns)
    pooled: Histogram = np.rint(total[:, :width]).astype(np.int64).reshape(-1, 2, LEVELS)
    images = total[:, -1:]
    sums = np.split(total[:, width:-1], len(names), axis=1)
    return pooled, {
        name: np.where(images > 0, values / np.maximum(images, 1), np.nan)
        for name, values in zip(names, sums, strict=True)
    }


def class_intervals(
    weights: Weights, matrices: ConfusionMatrix, scores: Mapping[str, Scores], empty_masks: str, foreground: slice
) -> dict[str, list[dict[str, Interval]]]:
    """Return the confidence intervals of all scores of several classes.

    Parameters
    ----------
    weights : (B, N) array
    matrices : (N, K, K) array
    scores : mapping of str to (N, K) array
        Scores of the images, NaN if an image has no score of a class.
    empty_masks : {'one', 'skip'}
    foreground : slice
        Indices of the foreground classes.

    Returns
    -------
    dict
        Under ``macro`` and ``micro``, for each class the intervals by column of the summary; the last item is for the
        mean over the foreground classes.
    """
    images, classes = matrices.shape[:2]
    macro = {}
    for name, values in scores.items():
        valid = ~np.isnan(values)
        image_counts = [*valid.sum(axis=0), valid[:, foreground].any(axis=1).sum()]
        macro[name] = list_intervals(_with_mean(resampled_means(weights, values), foreground), np.array(image_counts))
    counts = np.stack(one_vs_rest(matrices), axis=1).reshape(images, -1)
    correct_and_total = np.stack([np.trace(matrices, axis1=1, axis2=2), matrices.sum(axis=(1, 2))], axis=1)
    sums = weighted_sums(weights, np.concatenate([counts, correct_and_total], axis=1))
    pooled = Confusion(*np.rint(sums[:, :-2]).astype(np.int64).reshape(-1, 4, classes).swapaxes(0, 1))
    micro = {
        name: list_intervals(_with_mean(values, foreground), np.full(classes + 1, images))
        for name, values in class_scores(CLASS_METRICS, pooled, empty_masks).items()
    }
    intervals = {
        averaging: [
            {name: class_intervals[index] for name, class_intervals in by_name.items()} for index in range(classes + 1)
        ]
        for averaging, by_name in (("macro", macro), ("micro", micro))
    }
    accuracy = pixel_accuracy(matrices)[:, None]
    scored_images = np.count_nonzero(~np.isnan(accuracy), axis=0)
    (intervals["macro"][-1]["accuracy"],) = list_intervals(resampled_means(weights, accuracy), scored_images)
    with np.errstate(invalid="ignore"):
        accuracies = sums[:, -2:-1] / sums[:, -1:]
    (intervals["micro"][-1]["accuracy"],) = list_intervals(accuracies, np.array([images]))
    return intervals


def _with_mean(values: Scores, foreground: slice) -> Scores:
    """Append the mean over the foreground classes that have a score to (B, K) scores of classes: (B, K + 1)."""
    valid = ~np.isnan(values[:, foreground])
    counts = valid.sum(axis=1)
    means = np.where(valid, values[:, foreground], 0.0).sum(axis=1) / np.maximum(counts, 1)
    return np.column_stack([values, np.where(counts > 0, means, np.nan)])
