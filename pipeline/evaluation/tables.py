"""The tables of scores, of two classes and of several: what they have in common."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.core.counts import LEVELS
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


class Scored(NamedTuple):
    """Scores of one split and region: of images, rows of the summary with the intervals of each, and a fourth table."""

    images: pd.DataFrame
    rows: list[dict[str, Any]]
    intervals: Sequence[Intervals]
    details: pd.DataFrame


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
    cells = [
        {**row, "metric": name, "estimate": value, "level": LEVEL, **found[name]._asdict()}
        for one in scored
        for row, found in zip(one.rows, one.intervals, strict=True)
        for name, value in row.items()
        if name in found
    ]
    write_table(output / "per_image.csv", pd.concat([one.images for one in scored], ignore_index=True))
    write_table(output / "summary.csv", pd.DataFrame(rows))
    write_table(output / "intervals.csv", pd.DataFrame(cells, columns=list(COLUMNS)))
    write_table(output / details, pd.concat([one.details for one in scored], ignore_index=True))
    return rows


def mean_of(values: NDArray[np.float64]) -> float:
    """Average what is there; NaN where nothing is."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if there.size else math.nan
