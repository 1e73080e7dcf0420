"""Score two-class predictions, an experiment's or anybody's, against the native masks: four CSV files.

``docs/metrics.md`` explains them column by column.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.core.counts import LEVELS, Histogram, confusion, cut_level
from pipeline.core.files import write_table
from pipeline.core.fingerprint import sign
from pipeline.core.progress import say
from pipeline.evaluation.bootstrap import Weights, resampling_weights
from pipeline.evaluation.contours import HAUSDORFF
from pipeline.evaluation.criteria import oracle_columns
from pipeline.evaluation.curves import CUTS, curves, max_f_columns, thresholds, with_foreground
from pipeline.evaluation.intervals import COLUMNS, Intervals, f1_bounds, interval_rows, two_class_intervals
from pipeline.evaluation.metrics import OF_CONTOURS, REPORTED, compute, two_class_scores
from pipeline.evaluation.recipes import EvaluateRecipe
from pipeline.evaluation.regions import SplitCounts, count_splits
from pipeline.evaluation.scores import BETA2_SALIENT, f_beta
from pipeline.evaluation.thresholds import Threshold, read_threshold
from pipeline.raw.dataset import RawDataset, open_dataset

CURVE_OF = (
    *("experiment", "dataset", "origin", "split", "region", "class", "scale", "mask_binarization"),
    "probability_levels",
)
"""What the numbers of a curve depend on: no threshold, and no policy for empty masks, which have no curve."""


class Scored(NamedTuple):
    """Scores of one split and region: of images, rows of the summary with the intervals of each, and a fourth table."""

    images: pd.DataFrame
    rows: list[dict[str, Any]]
    intervals: Sequence[Intervals]
    details: pd.DataFrame


def evaluate(
    recipe: EvaluateRecipe,
    *,
    experiment: str,
    predictions: Mapping[str, Path],
    threshold: Path | float,
    output: Path,
    fingerprint: str | None = None,
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
    fingerprint : str, optional
        What the scores are made by (`pipeline.core.fingerprint.Fingerprint.to_json`), to store in a file beside them.

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
    sign(fingerprint, output)
    for row in rows:
        where = ", ".join((experiment, row["split"], row["region"], row["averaging"]))
        say(f"{where}: F1 {row['f1']:.4f}, IoU {row['iou']:.4f}")


def score_regions(
    raw: RawDataset,
    recipe: EvaluateRecipe,
    experiment: str,
    threshold: Threshold,
    counted: Sequence[tuple[str, SplitCounts]],
    score: Callable[[dict[str, Any], SplitCounts, str, Weights], Scored],
) -> list[Scored]:
    """Score every region of every split.

    `score` takes what the numbers depend on, in columns beside them: there ``class`` is the foreground class, where
    there are several their rows overwrite it, and what only a threshold needs is empty where there is none.
    """
    scored = []
    for split, compared in counted:
        weights = resampling_weights(len(compared.ids))
        for region in compared.regions:
            conditions = {
                "experiment": experiment,
                "dataset": raw.name,
                "layout": raw.layout,
                "origin": raw.origin,
                "excluded": len(raw.excluded),
                "split": split,
                "region": region,
                "class": raw.classes[1],
                "scale": "native",
                "threshold": threshold.value,
                "threshold_source": threshold.source,
                "threshold_metric": threshold.metric or None,
                "mask_binarization": None if raw.multiclass else raw.binarization,
                "probability_levels": None if raw.multiclass else LEVELS,
                "empty_masks": recipe.empty_masks,
            }
            scored.append(score(conditions, compared, region, weights))
    return scored


def write_scores(scored: Sequence[Scored], output: Path, details: str) -> list[dict[str, Any]]:
    """Write the tables, the fourth one under its name `details`; return the rows of the summary."""
    rows = [row for one in scored for row in one.rows]
    cells = [cell for one in scored for row, found in zip(one.rows, one.intervals, strict=True)
             for cell in interval_rows(row, found)]  # fmt: skip
    write_table(output / "per_image.csv", pd.concat([one.images for one in scored], ignore_index=True))
    write_table(output / "summary.csv", pd.DataFrame(rows))
    write_table(output / "intervals.csv", pd.DataFrame(cells, columns=list(COLUMNS)))
    write_table(output / details, pd.concat([one.details for one in scored], ignore_index=True))
    return rows


def mean_of(values: NDArray[np.float64]) -> float:
    """Average what is there; NaN where nothing is."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if there.size else math.nan


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
