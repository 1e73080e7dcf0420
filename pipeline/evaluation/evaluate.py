"""Score two-class predictions of an experiment or of any other program against the native masks: four CSV files.

``docs/metrics.md`` explains their columns.
"""

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.core.counts import Histogram, confusion, threshold_level
from pipeline.core.progress import log
from pipeline.evaluation.bootstrap import Weights
from pipeline.evaluation.contours import HAUSDORFF
from pipeline.evaluation.criteria import oracle_columns
from pipeline.evaluation.curves import CURVE_POINTS, curves, max_f_columns, thresholds, with_foreground
from pipeline.evaluation.intervals import f1_bounds, two_class_intervals
from pipeline.evaluation.metrics import CONTOUR_METRICS, REPORTED, compute, two_class_scores
from pipeline.evaluation.recipes import EvaluateRecipe
from pipeline.evaluation.regions import SplitCounts, count_splits
from pipeline.evaluation.scores import BETA2_SALIENT, f_beta
from pipeline.evaluation.tables import ScoreTables, nan_mean, score_regions, write_scores
from pipeline.evaluation.thresholds import Threshold, read_threshold
from pipeline.raw.dataset import open_dataset

CURVE_CONDITIONS = (
    *("experiment", "dataset", "origin", "split", "region", "class", "scale", "mask_binarization"),
    "probability_levels",
)
"""Condition columns of curves: without the threshold, and without the policy for empty masks, which have no curve."""


def evaluate(
    recipe: EvaluateRecipe,
    *,
    experiment: str,
    predictions: Mapping[str, Path],
    threshold: Path | float,
    output: Path,
    threads: int = 1,
) -> None:
    """Write ``per_image.csv``, ``summary.csv``, ``intervals.csv`` and ``curve.csv``.

    Their column ``class`` is the name of the foreground class.

    Parameters
    ----------
    recipe : EvaluateRecipe
    experiment : str
    predictions : mapping of str to Path
        Folder of probability PNGs by split (``validation``, ``test``).
    threshold : Path or float
        File that `choose_threshold` wrote, or a number.
    output : Path
        Folder for the four files.
    threads : int
        Images that are counted at a time.

    Raises
    ------
    RawDataError, PredictionError, OutputError
    """
    raw = open_dataset(recipe.dataset, recipe.source)
    used_threshold = read_threshold(threshold) if isinstance(threshold, Path) else Threshold(threshold, "fixed")
    level = threshold_level(used_threshold.value)
    splits = count_splits(raw, predictions, experiment, level, threads)
    scores = score_regions(raw, recipe, experiment, used_threshold, splits, partial(_score, level=level))
    for row in write_scores(scores, output, "curve.csv"):
        label = ", ".join((experiment, row["split"], row["region"], row["averaging"]))
        log(f"{label}: F1 {row['f1']:.4f}, IoU {row['iou']:.4f}")


def _score(
    conditions: dict[str, Any], split_counts: SplitCounts, region: str, weights: Weights, level: int
) -> ScoreTables:
    """Score each image, the mean over images (macro) and all pixels of all images (micro)."""
    histograms, ranks = split_counts.regions[region], split_counts.ranks[region]
    policy = conditions["empty_masks"]
    counts, pooled = confusion(histograms, level), histograms.sum(axis=0)
    distances = split_counts.distances.get(region)
    scores = two_class_scores(histograms, ranks, level, policy, REPORTED, distances)
    scores |= compute(CONTOUR_METRICS, counts, policy, split_counts.contours[region])
    pixels = histograms.sum(axis=(1, 2))
    images = pd.DataFrame({**conditions, "id": split_counts.ids, "pixels": pixels, **counts._asdict(), **scores})
    macro = {name: nan_mean(values) for name, values in scores.items()}
    macro |= {f"{HAUSDORFF}_images": int(images[HAUSDORFF].notna().sum()), "f1_sd": float(images["f1"].std(ddof=1))}
    # scores that are defined only for single images are NaN
    micro = dict.fromkeys(macro, math.nan) | {
        name: float(value)
        for name, value in two_class_scores(
            pooled, ranks.sum(axis=0), level, policy, distances=None if distances is None else distances.sum()
        ).items()
    }
    intervals = two_class_intervals(weights, histograms, ranks, scores, level, policy, distances)
    rows = [
        {
            **conditions,
            "averaging": averaging,
            "images": len(images),
            **values,
            **f1_bounds(intervals[averaging]),
            **max_f_columns(averaged),
            **oracle_columns(averaged, policy),
        }
        for averaging, values, averaged in (("macro", macro, histograms), ("micro", micro, pooled[None]))
    ]
    curve = curve_table({name: value for name, value in conditions.items() if name in CURVE_CONDITIONS}, histograms)
    return ScoreTables(images, rows, [intervals["macro"], intervals["micro"]], curve)


def curve_table(conditions: Mapping[str, Any], histograms: Histogram) -> pd.DataFrame:
    """Return a table of the curves of several images.

    Parameters
    ----------
    conditions : mapping
        Columns with the conditions of the numbers, the same in every row.
    histograms : (N, 2, 256) array

    Returns
    -------
    DataFrame
        257 rows for the mean over images (macro) and 257 for all pixels of all images (micro).
    """
    foreground = with_foreground(histograms)
    background = histograms[histograms[:, 0].any(axis=-1)]
    pooled = histograms.sum(axis=0, keepdims=True)
    tables = []
    for averaging, positives, negatives, images in (
        ("macro", foreground, background, len(foreground)),
        ("micro", pooled, pooled, len(histograms)),
    ):
        points = curves(positives)
        columns = {
            "precision": points.precision,
            "recall": points.recall,
            "f1": f_beta(points.precision, points.recall, 1.0),
            "f03": f_beta(points.precision, points.recall, BETA2_SALIENT),
            "tpr": points.recall,
            "fpr": curves(negatives).fpr,
        }
        means = {name: values.mean(axis=0) if len(values) else math.nan for name, values in columns.items()}
        keys = {"averaging": averaging, "images": images, "level": np.arange(CURVE_POINTS), "threshold": thresholds()}
        tables.append(pd.DataFrame({**conditions, **keys, **means}))
    return pd.concat(tables, ignore_index=True)
