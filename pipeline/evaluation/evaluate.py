"""Score two-class predictions, an experiment's or anybody's, against the native masks: four CSV files.

``docs/metrics.md`` explains them column by column.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.core.counts import LEVELS, Confusion, Histogram, absolute_error, confusion, cut_level, dice
from pipeline.core.files import write_table
from pipeline.core.fingerprint import sign
from pipeline.core.progress import say
from pipeline.evaluation.bootstrap import resampling_weights
from pipeline.evaluation.contours import CONTOUR_SCORES
from pipeline.evaluation.curves import average_precision, curve_table, max_f_columns, oracle_columns
from pipeline.evaluation.histograms import split_histograms
from pipeline.evaluation.intervals import COLUMNS, Found, f1_bounds, interval_rows, two_class_intervals
from pipeline.evaluation.metrics import POOLED, REPORTED, compute, roc_auc
from pipeline.evaluation.recipes import EvaluateRecipe
from pipeline.evaluation.regions import SplitCounts, count_splits
from pipeline.evaluation.scores import EMPTY_VALUES
from pipeline.evaluation.thresholds import Threshold, read_threshold
from pipeline.raw.dataset import RawDataset, open_dataset, require_samples

CURVE_OF = (
    "experiment",
    "dataset",
    "origin",
    "split",
    "region",
    "class",
    "scale",
    "mask_binarization",
    "probability_levels",
)
"""What the numbers of a curve depend on: no threshold, and no policy for empty masks, which have no curve."""

MACRO = ("mae", "roc_auc", "pr_auc", *REPORTED, *CONTOUR_SCORES)
"""Scores that each picture has, for a mean over pictures."""


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
    raw, empty_masks = open_dataset(recipe.dataset, recipe.source), recipe.empty_masks
    chosen = read_threshold(threshold) if isinstance(threshold, Path) else Threshold(threshold, "fixed")
    cut = cut_level(chosen.value)
    counted = count_splits(
        predictions,
        lambda split, folder: split_histograms(
            raw, require_samples(raw, split), folder, f"{experiment}: {split} samples", cut
        ),
    )
    pictures: list[pd.DataFrame] = []
    summaries: list[dict[str, Any]] = []
    intervals: list[dict[str, Any]] = []
    curves: list[pd.DataFrame] = []
    for split, compared in counted:
        weights = resampling_weights(len(compared.ids))
        for region, histograms in compared.regions.items():
            said = conditions(experiment, raw, split, region, chosen, empty_masks)
            pictures.append(_per_image(said, compared, region, cut))
            values = {name: pictures[-1][name].to_numpy(np.float64) for name in MACRO}
            found = two_class_intervals(weights, histograms, values, cut, empty_masks)
            rows = _summaries(said, histograms, pictures[-1], cut, found)
            summaries += rows
            intervals += [cell for row in rows for cell in interval_rows(row, found[row["averaging"]])]
            curves.append(curve_table({key: value for key, value in said.items() if key in CURVE_OF}, histograms))
    write_table(output / "per_image.csv", pd.concat(pictures, ignore_index=True))
    summary = pd.DataFrame(summaries)
    write_table(output / "summary.csv", summary)
    write_table(output / "intervals.csv", pd.DataFrame(intervals, columns=list(COLUMNS)))
    write_table(output / "curve.csv", pd.concat(curves, ignore_index=True))
    sign(fingerprint, output)
    for row in summary.itertuples():
        say(f"{experiment}, {row.split}, {row.region}, {row.averaging}: F1 {row.f1:.4f}, IoU {row.iou:.4f}")


def conditions(
    experiment: str, raw: RawDataset, split: str, region: str, threshold: Threshold, empty_masks: str
) -> dict[str, Any]:
    """Say what a number depends on, in columns beside it.

    ``class`` is the foreground class; where there are several, the rows overwrite it. What only a threshold needs is
    empty where there is none.
    """
    return {
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
        "empty_masks": empty_masks,
    }


def _per_image(said: Mapping[str, Any], compared: SplitCounts, region: str, cut: int) -> pd.DataFrame:
    histograms = compared.regions[region]
    counts = confusion(histograms, cut)
    columns = {
        "id": compared.ids,
        "pixels": histograms.sum(axis=(1, 2)),
        **counts._asdict(),
        "mae": absolute_error(histograms),
        "roc_auc": roc_auc(histograms),
        "pr_auc": average_precision(histograms),
        **compute(REPORTED, counts, said["empty_masks"]),
        **contour_columns(compared.measured[region], counts, said["empty_masks"]),
    }
    return pd.DataFrame({**{key: [value] * len(compared.ids) for key, value in said.items()}, **columns})


def contour_columns(
    measured: NDArray[np.float64], counts: Confusion, empty_masks: str
) -> dict[str, NDArray[np.float64]]:
    """Name the scores of contours, and give boundary Dice the value of the policy where both masks are empty.

    Parameters
    ----------
    measured : (..., 2) array
        See `pipeline.evaluation.contours.contour_scores`.
    counts : Confusion of (...) arrays
    empty_masks : {'one', 'skip'}
    """
    boundary, distance = np.moveaxis(measured, -1, 0)
    empty = counts.tp + counts.fp + counts.fn == 0
    boundary = np.where(empty, dice(counts, EMPTY_VALUES[empty_masks]), boundary)
    return dict(zip(CONTOUR_SCORES, (boundary, distance), strict=True))


def mean_of(values: NDArray[np.float64]) -> float:
    """Average what is there; NaN where nothing is."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if there.size else math.nan


def _summaries(
    said: Mapping[str, Any],
    histograms: Histogram,
    pictures: pd.DataFrame,
    cut: int,
    found: Mapping[str, Found],
) -> Sequence[dict[str, Any]]:
    """Average over pictures (macro) and over all pixels together (micro)."""
    empty_masks = said["empty_masks"]
    macro = {name: mean_of(pictures[name].to_numpy()) for name in MACRO}
    distances = f"{CONTOUR_SCORES[1]}_images"
    macro |= {distances: int(pictures[CONTOUR_SCORES[1]].notna().sum()), "f1_sd": float(pictures["f1"].std(ddof=1))}
    pooled = histograms.sum(axis=0)
    micro = {
        "mae": float(absolute_error(pooled)),
        "roc_auc": float(roc_auc(pooled)),
        "pr_auc": float(average_precision(pooled)),
        # what belongs to single pictures is NaN
        **dict.fromkeys([*REPORTED, *CONTOUR_SCORES, distances, "f1_sd"], math.nan),
        **{key: float(value) for key, value in compute(POOLED, confusion(pooled, cut), empty_masks).items()},
    }
    return [
        {
            **said,
            "averaging": averaging,
            "images": len(pictures),
            **values,
            **f1_bounds(found[averaging]),
            **max_f_columns(some),
            **oracle_columns(some, empty_masks),
        }
        for averaging, values, some in (("macro", macro, histograms), ("micro", micro, pooled[None]))
    ]
