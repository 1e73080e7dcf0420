"""Score an experiment, or anybody's predictions, against the native masks: two CSV files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.counts import Confusion, Histogram, absolute_error, confusion, cut_level
from pipeline.evaluation.histograms import SplitHistograms, split_histograms
from pipeline.evaluation.metrics import EMPTY_VALUES, METRICS
from pipeline.evaluation.thresholds import Threshold, read_threshold
from pipeline.files import write_table
from pipeline.progress import say
from pipeline.raw.dataset import RawDataset, open_dataset, require_samples


def evaluate(
    *,
    experiment: str,
    dataset: str,
    predictions: Mapping[str, Path],
    threshold: Path | float,
    output: Path,
    source: Mapping[str, Any],
    empty_masks: str,
) -> None:
    """Write ``per_image.csv`` and ``summary.csv``.

    Parameters
    ----------
    experiment, dataset : str
    predictions : mapping of str to Path
        Split (``validation``, ``test``) to its folder of probability PNGs.
    threshold : Path or float
        The file that `choose_threshold` wrote, or a number.
    output : Path
        Folder for the two files.
    source : mapping
        Keyword arguments of `open_dataset`.
    empty_masks : {'one', 'skip'}
        Score of a picture whose mask and prediction both are empty: 1, or left out of the mean.

    Raises
    ------
    RawDataError, PredictionError, OutputError
    """
    raw = open_dataset(dataset, **source)
    chosen = read_threshold(threshold) if isinstance(threshold, Path) else Threshold(threshold, "fixed")
    pictures: list[pd.DataFrame] = []
    summaries: list[dict[str, Any]] = []
    for split, folder in sorted(predictions.items()):
        compared = split_histograms(raw, require_samples(raw, split), folder, f"{experiment}: {split} samples")
        for region, histograms in compared.regions.items():
            said = _conditions(experiment, raw, split, region, chosen, empty_masks)
            pictures.append(_per_image(said, compared, histograms, chosen, empty_masks))
            summaries += _summaries(said, histograms, pictures[-1], chosen, empty_masks)
    write_table(output / "per_image.csv", pd.concat(pictures, ignore_index=True))
    summary = pd.DataFrame(summaries)
    write_table(output / "summary.csv", summary)
    for row in summary.itertuples():
        say(f"{experiment}, {row.split}, {row.region}, {row.averaging}: F1 {row.f1:.4f}, IoU {row.iou:.4f}")


def _conditions(
    experiment: str, raw: RawDataset, split: str, region: str, threshold: Threshold, empty_masks: str
) -> dict[str, Any]:
    """Say what a number depends on, in columns beside it."""
    return {
        "experiment": experiment,
        "dataset": raw.name,
        "origin": raw.origin,
        "split": split,
        "region": region,
        "scale": "native",
        "threshold": threshold.value,
        "threshold_source": threshold.source,
        "mask_binarization": raw.binarization,
        "probability_levels": 256,
        "empty_masks": empty_masks,
    }


def _scores(counts: Confusion, empty_masks: str) -> dict[str, Any]:
    return {name: metric(counts, EMPTY_VALUES[empty_masks]) for name, metric in METRICS.items()}


def _per_image(
    said: Mapping[str, Any], compared: SplitHistograms, histograms: Histogram, threshold: Threshold, empty_masks: str
) -> pd.DataFrame:
    counts = confusion(histograms, cut_level(threshold.value))
    columns = {
        "id": compared.ids,
        "pixels": histograms.sum(axis=(1, 2)),
        **counts._asdict(),
        "mae": absolute_error(histograms),
        **_scores(counts, empty_masks),
    }
    return pd.DataFrame({**{key: [value] * len(compared.ids) for key, value in said.items()}, **columns})


def _summaries(
    said: Mapping[str, Any], histograms: Histogram, pictures: pd.DataFrame, threshold: Threshold, empty_masks: str
) -> Sequence[dict[str, Any]]:
    """Average over pictures (macro) and over all pixels together (micro)."""
    names = ["mae", *METRICS]
    macro = {name: float(np.nanmean(column)) if (column := pictures[name]).notna().any() else np.nan for name in names}
    pooled = histograms.sum(axis=0)
    micro = {
        "mae": float(absolute_error(pooled)),
        **{
            key: float(value)
            for key, value in _scores(confusion(pooled, cut_level(threshold.value)), empty_masks).items()
        },
    }
    return [
        {**said, "averaging": averaging, "images": len(pictures), **scores}
        for averaging, scores in (("macro", macro), ("micro", micro))
    ]
