"""Score tables of two classes and of several: their common parts."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.core.tables import write_table
from pipeline.evaluation.bootstrap import LEVEL, Weights, resampling_weights
from pipeline.evaluation.intervals import Intervals
from pipeline.evaluation.recipes import EvaluateRecipe
from pipeline.evaluation.regions import SplitCounts
from pipeline.evaluation.thresholds import Threshold
from pipeline.raw.dataset import RawDataset

COLUMNS = (
    *("experiment", "dataset", "split", "region", "class", "averaging", "metric", "estimate", "low", "high", "level"),
    *("resamples", "images"),
)
"""Columns of ``intervals.csv``."""


class ScoreTables(NamedTuple):
    """Scores of one split and region: of images, rows of the summary and their intervals, and a table of details."""

    images: pd.DataFrame
    rows: list[dict[str, Any]]
    intervals: Sequence[Intervals]
    details: pd.DataFrame


def score_regions(
    raw: RawDataset,
    recipe: EvaluateRecipe,
    experiment: str,
    threshold: Threshold,
    splits: Sequence[tuple[str, SplitCounts]],
    score: Callable[[dict[str, Any], SplitCounts, str, Weights], ScoreTables],
) -> list[ScoreTables]:
    """Score every region of every split.

    `score` receives the conditions of the numbers, as columns of the tables. Their ``class`` is the foreground class,
    which rows of several classes overwrite; without a threshold, the columns of the threshold are empty.
    """
    tables = []
    for split, split_counts in splits:
        weights = resampling_weights(len(split_counts.ids))
        for region in split_counts.regions:
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
                "probability_levels": split_counts.levels,
                "empty_masks": recipe.empty_masks,
                "background": raw.background,
            }
            tables.append(score(conditions, split_counts, region, weights))
    return tables


def write_scores(tables: Sequence[ScoreTables], output: Path, details: str) -> list[dict[str, Any]]:
    """Write the tables, the table of details with the file name `details`; return the rows of the summary."""
    rows = [row for table in tables for row in table.rows]
    cells = [
        {**row, "metric": name, "estimate": value, "level": LEVEL, **intervals[name]._asdict()}
        for table in tables
        for row, intervals in zip(table.rows, table.intervals, strict=True)
        for name, value in row.items()
        if name in intervals
    ]
    write_table(output / "per_image.csv", pd.concat([table.images for table in tables], ignore_index=True))
    write_table(output / "summary.csv", pd.DataFrame(rows))
    write_table(output / "intervals.csv", pd.DataFrame(cells, columns=list(COLUMNS)))
    write_table(output / details, pd.concat([table.details for table in tables], ignore_index=True))
    return rows


def nan_mean(values: NDArray[np.float64]) -> float:
    """Return the mean of the values that are not NaN; NaN without any."""
    valid = values[~np.isnan(values)]
    return float(valid.mean()) if valid.size else math.nan
