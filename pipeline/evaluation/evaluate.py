"""Score two-class predictions, an experiment's or anybody's, against the native masks: two CSV files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.counts import LEVELS, Confusion, Histogram, absolute_error, confusion, cut_level, max_f
from pipeline.evaluation.histograms import split_histograms
from pipeline.evaluation.metrics import EMPTY_VALUES, METRICS, roc_auc
from pipeline.evaluation.regions import SplitCounts, count_splits
from pipeline.evaluation.thresholds import Threshold, read_threshold
from pipeline.files import write_table
from pipeline.fingerprint import sign
from pipeline.progress import say
from pipeline.raw.dataset import RawDataset, open_dataset, require_samples

_MAX_F_OF = {
    "macro": "mean precision and mean recall; beta2 0.3; levels as predicted; pictures with empty masks left out",
    "micro": "all pixels together; beta2 0.3; levels as predicted",
}
"""Works on salient objects define maxF in several ways: the table says which one this is."""


def evaluate(
    *,
    experiment: str,
    dataset: str,
    predictions: Mapping[str, Path],
    threshold: Path | float,
    output: Path,
    source: Mapping[str, Any],
    empty_masks: str,
    fingerprint: str | None = None,
) -> None:
    """Write ``per_image.csv`` and ``summary.csv``; their column ``class`` names the foreground class.

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
    fingerprint : str, optional
        What the scores are made by (`pipeline.fingerprint.Fingerprint.to_json`), to store in a file beside them.

    Raises
    ------
    RawDataError, PredictionError, OutputError
    """
    raw = open_dataset(dataset, **source)
    chosen = read_threshold(threshold) if isinstance(threshold, Path) else Threshold(threshold, "fixed")
    counted = count_splits(
        predictions,
        lambda split, folder: split_histograms(
            raw, require_samples(raw, split), folder, f"{experiment}: {split} samples"
        ),
    )
    pictures: list[pd.DataFrame] = []
    summaries: list[dict[str, Any]] = []
    for split, compared in counted:
        for region, histograms in compared.regions.items():
            said = conditions(experiment, raw, split, region, chosen, empty_masks)
            pictures.append(_per_image(said, compared, histograms, chosen, empty_masks))
            summaries += _summaries(said, histograms, pictures[-1], chosen, empty_masks)
    write_table(output / "per_image.csv", pd.concat(pictures, ignore_index=True))
    summary = pd.DataFrame(summaries)
    write_table(output / "summary.csv", summary)
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
        "origin": raw.origin,
        "excluded": len(raw.excluded),
        "split": split,
        "region": region,
        "class": raw.classes[1],
        "scale": "native",
        "threshold": threshold.value,
        "threshold_source": threshold.source,
        "mask_binarization": None if raw.multiclass else raw.binarization,
        "probability_levels": None if raw.multiclass else LEVELS,
        "empty_masks": empty_masks,
    }


def _scores(counts: Confusion, empty_masks: str) -> dict[str, Any]:
    return {name: metric(counts, EMPTY_VALUES[empty_masks]) for name, metric in METRICS.items()}


def _per_image(
    said: Mapping[str, Any], compared: SplitCounts, histograms: Histogram, threshold: Threshold, empty_masks: str
) -> pd.DataFrame:
    counts = confusion(histograms, cut_level(threshold.value))
    columns = {
        "id": compared.ids,
        "pixels": histograms.sum(axis=(1, 2)),
        **counts._asdict(),
        "mae": absolute_error(histograms),
        "roc_auc": roc_auc(histograms),
        **_scores(counts, empty_masks),
    }
    return pd.DataFrame({**{key: [value] * len(compared.ids) for key, value in said.items()}, **columns})


def _summaries(
    said: Mapping[str, Any], histograms: Histogram, pictures: pd.DataFrame, threshold: Threshold, empty_masks: str
) -> Sequence[dict[str, Any]]:
    """Average over pictures (macro) and over all pixels together (micro)."""
    names = ["mae", "roc_auc", *METRICS]
    macro = {name: float(np.nanmean(column)) if (column := pictures[name]).notna().any() else np.nan for name in names}
    macro["max_f"] = max_f(histograms)
    pooled = histograms.sum(axis=0)
    micro = {
        "max_f": max_f(pooled[None]),
        "mae": float(absolute_error(pooled)),
        "roc_auc": float(roc_auc(pooled)),
        **{
            key: float(value)
            for key, value in _scores(confusion(pooled, cut_level(threshold.value)), empty_masks).items()
        },
    }
    return [
        {**said, "max_f_of": _MAX_F_OF[averaging], "averaging": averaging, "images": len(pictures), **scores}
        for averaging, scores in (("macro", macro), ("micro", micro))
    ]
