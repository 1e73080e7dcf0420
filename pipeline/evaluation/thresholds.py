"""The threshold that makes a mask of a probability: chosen on validation samples, or fixed. Never on test."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.counts import LEVELS, Histogram, confusion, dice
from pipeline.errors import PredictionError, Problem
from pipeline.evaluation.histograms import split_histograms
from pipeline.files import write_json
from pipeline.fingerprint import Fingerprint, canonical, mismatch, read_fingerprint
from pipeline.progress import say
from pipeline.raw.dataset import open_dataset, require_samples
from pipeline.raw.splits import VALIDATION

_FINGERPRINT = "fingerprint"


@dataclass(frozen=True)
class Threshold:
    """A threshold and where it comes from.

    Parameters
    ----------
    value : float
        In [0, 1]; a pixel is foreground where its probability is above.
    source : {'validation', 'out-of-fold', 'fixed'}
    chosen_by : str
        What was made large, in which region, over how many pictures; empty where fixed.
    """

    value: float
    source: str
    chosen_by: str = ""


def best_threshold(histograms: Histogram) -> tuple[float, float]:
    """Find the threshold with the highest F1 over all pixels together (micro average).

    Parameters
    ----------
    histograms : (N, 2, 256) array of int64

    Returns
    -------
    threshold, f1 : float
        The threshold lies midway between two levels. Of equally good ones it is the middle one.
    """
    scores = dice(confusion(histograms.sum(axis=0)))[: LEVELS - 1]  # above level 255 there is nothing
    winners = np.flatnonzero(scores == scores.max())
    cut = int(winners[len(winners) // 2])
    return (cut + 0.5) / (LEVELS - 1), float(scores[cut])


def choose_threshold(
    *,
    experiment: str,
    dataset: str,
    output: Path,
    predictions: Path | None,
    fixed: float | None,
    source: Mapping[str, Any] | None,
    split: str = VALIDATION,
    fingerprint: str | None = None,
) -> None:
    """Write the threshold of an experiment.

    Parameters
    ----------
    experiment, dataset : str
    output : Path
        JSON file; see `Threshold`.
    predictions : Path, optional
        Folder of the validation samples' probabilities; not needed for a fixed threshold.
    fixed : float, optional
        The threshold itself, where it is not to be chosen.
    source : mapping, optional
        Keyword arguments of `open_dataset`, for the validation masks.
    split : {'validation', 'out-of-fold'}
        What it is chosen on. Of `OUT_OF_FOLD` samples each is predicted by networks that have not seen it.
    fingerprint : str, optional
        What the threshold is made by (`pipeline.fingerprint.Fingerprint.to_json`), to store with it.

    Raises
    ------
    RawDataError, PredictionError, OutputError
    """
    if fixed is not None:
        threshold = Threshold(fixed, "fixed")
    else:
        if predictions is None or source is None:
            raise ValueError("a threshold from validation needs predictions and the source of the masks")
        raw = open_dataset(dataset, **source)
        samples = require_samples(raw, split)
        compared = split_histograms(raw, samples, predictions, f"{experiment}: {split} samples")
        region = compared.main_region
        if not compared.regions[region].any():
            raise PredictionError(
                Problem(
                    f"data set {dataset!r}, {split} samples, region {region}",
                    "no pixel that counts",
                    "masks that are not void everywhere",
                    "give the experiment a number as `threshold`, or correct the masks",
                )
            )
        value, score = best_threshold(compared.regions[region])
        chosen_by = f"micro F1 {score:.4f}, region {region}, native size, {len(samples)} {split} samples"
        threshold = Threshold(round(value, 6), split, chosen_by)
    made_by = {} if fingerprint is None else {_FINGERPRINT: json.loads(fingerprint)}
    write_json(output, {**asdict(threshold), **made_by})
    say(f"{experiment}: threshold {threshold.value:.4f} ({threshold.source}) {threshold.chosen_by}")


def read_threshold(path: Path) -> Threshold:
    """Read what `choose_threshold` wrote.

    Raises
    ------
    PredictionError
        If the file is missing or says something else.
    """
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        threshold = Threshold(**{key: value for key, value in said.items() if key != _FINGERPRINT})
        if not 0 <= threshold.value <= 1:
            raise ValueError(f"the threshold {threshold.value}")
        return threshold
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise PredictionError(
            Problem(
                str(path), str(error), "a threshold from 0 to 1 and its source", "delete it and run snakemake again"
            )
        ) from error


def require_origin(asked: Mapping[Path, Fingerprint]) -> None:
    """Refuse predictions and thresholds that other settings or other code made.

    Parameters
    ----------
    asked : mapping of Path to Fingerprint
        Each folder of predictions, or file of a threshold, and what it has to be made by. What is not there the stage
        itself complains about.

    Raises
    ------
    PredictionError
        Listing every one with a fingerprint that differs, or without one.
    """
    stored = {path: read_fingerprint(path) if path.is_dir() else _stored(path) for path in asked if path.exists()}
    compared = [mismatch(path, text, asked[path]) for path, text in stored.items()]
    if problems := [problem for problem in compared if problem is not None]:
        raise PredictionError(problems)


def _stored(path: Path) -> str | None:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))[_FINGERPRINT]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return canonical(said)
