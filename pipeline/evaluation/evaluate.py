"""Score two-class predictions, an experiment's or anybody's, against the native masks: four CSV files.

``docs/metrics.md`` explains them column by column.
"""

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.core.counts import Histogram, confusion, cut_level
from pipeline.core.progress import log
from pipeline.evaluation.bootstrap import Weights
from pipeline.evaluation.contours import HAUSDORFF
from pipeline.evaluation.criteria import oracle_columns
from pipeline.evaluation.curves import CUTS, curves, max_f_columns, thresholds, with_foreground
from pipeline.evaluation.intervals import f1_bounds, two_class_intervals
from pipeline.evaluation.metrics import OF_CONTOURS, REPORTED, compute, two_class_scores
from pipeline.evaluation.recipes import EvaluateRecipe
from pipeline.evaluation.regions import SplitCounts, count_splits
from pipeline.evaluation.scores import BETA2_SALIENT, f_beta
from pipeline.evaluation.tables import Scored, mean_of, score_regions, write_scores
from pipeline.evaluation.thresholds import Threshold, read_threshold
from pipeline.raw.dataset import open_dataset

CURVE_OF = (
    *("experiment", "dataset", "origin", "split", "region", "class", "scale", "mask_binarization"),
    "probability_levels",
)
"""What the numbers of a curve depend on: no threshold, and no policy for empty masks, which have no curve."""


def evaluate(
    recipe: EvaluateRecipe,
    *,
    experiment: str,
    predictions: Mapping[str, Path],
    threshold: Path | float,
    output: Path,
) -> None:
    """Write ``per_image.csv``, ``summary.csv``, ``intervals.csv`` and ``curve.csv``.

    Their column ``class`` names the foreground class.

    Parameters
    ----------
    recipe : EvaluateRecipe
    experiment : str
    predictions : mapping of str to Path
        Split (``validation``, ``test``) to its folder of probability PNGs.
    threshold : Path or float
        The file that `choose_threshold` wrote, or a number.
    output : Path
        Folder for the four files.

    Raises
    ------
    RawDataError, PredictionError, OutputError
    """
    raw = open_dataset(recipe.dataset, recipe.source)
    chosen = read_threshold(threshold) if isinstance(threshold, Path) else Threshold(threshold, "fixed")
    cut = cut_level(chosen.value)
    counted = count_splits(raw, predictions, experiment, cut)
    rows = write_scores(
        score_regions(raw, recipe, experiment, chosen, counted, partial(_score, cut=cut)), output, "curve.csv"
    )
    for row in rows:
        where = ", ".join((experiment, row["split"], row["region"], row["averaging"]))
        log(f"{where}: F1 {row['f1']:.4f}, IoU {row['iou']:.4f}")


def _score(conditions: dict[str, Any], compared: SplitCounts, region: str, weights: Weights, cut: int) -> Scored:
    """Score single images, their mean (macro) and all pixels together (micro)."""
    histograms, policy = compared.regions[region], conditions["empty_masks"]
    counts, pooled = confusion(histograms, cut), histograms.sum(axis=0)
    scores = two_class_scores(histograms, cut, policy, REPORTED)
    scores |= compute(OF_CONTOURS, counts, policy, compared.contours[region])
    pixels = histograms.sum(axis=(1, 2))
    images = pd.DataFrame({**conditions, "id": compared.ids, "pixels": pixels, **counts._asdict(), **scores})
    macro = {name: mean_of(values) for name, values in scores.items()}
    macro |= {f"{HAUSDORFF}_images": int(images[HAUSDORFF].notna().sum()), "f1_sd": float(images["f1"].std(ddof=1))}
    # what belongs to single images has no pooled value
    micro = dict.fromkeys(macro, math.nan) | {
        name: float(value) for name, value in two_class_scores(pooled, cut, policy).items()
    }
    found = two_class_intervals(weights, histograms, scores, cut, policy)
    rows = [
        {
            **conditions,
            "averaging": averaging,
            "images": len(images),
            **values,
            **f1_bounds(found[averaging]),
            **max_f_columns(some),
            **oracle_columns(some, policy),
        }
        for averaging, values, some in (("macro", macro, histograms), ("micro", micro, pooled[None]))
    ]
    curve = curve_table({name: value for name, value in conditions.items() if name in CURVE_OF}, histograms)
    return Scored(images, rows, [found["macro"], found["micro"]], curve)


def curve_table(conditions: Mapping[str, Any], histograms: Histogram) -> pd.DataFrame:
    """Write the curves of several images as rows.

    Parameters
    ----------
    conditions : mapping
        What the numbers depend on; the same in every row.
    histograms : (N, 2, 256) array

    Returns
    -------
    DataFrame
        257 rows for the mean over images (macro) and 257 for all pixels together (micro).
    """
    shown = with_foreground(histograms)
    background = histograms[histograms[:, 0].any(axis=-1)]
    pooled = histograms.sum(axis=0, keepdims=True)
    tables = []
    for averaging, some, others, images in (
        ("macro", shown, background, len(shown)),
        ("micro", pooled, pooled, len(histograms)),
    ):
        points = curves(some)
        columns = {
            "precision": points.precision,
            "recall": points.recall,
            "f1": f_beta(points.precision, points.recall, 1.0),
            "f03": f_beta(points.precision, points.recall, BETA2_SALIENT),
            "tpr": points.recall,
            "fpr": curves(others).fpr,
        }
        means = {name: values.mean(axis=0) if len(values) else math.nan for name, values in columns.items()}
        where = {"averaging": averaging, "images": images, "level": np.arange(CUTS), "threshold": thresholds()}
        tables.append(pd.DataFrame({**conditions, **where, **means}))
    return pd.concat(tables, ignore_index=True)
