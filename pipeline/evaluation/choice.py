"""Choose the threshold that makes a mask of a probability: on validation samples, or fixed. Never on test."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.counts import LEVELS, Histogram
from pipeline.core.errors import PredictionError, Problem
from pipeline.core.files import write_json
from pipeline.core.progress import say
from pipeline.evaluation.criteria import score_at_cuts
from pipeline.evaluation.histograms import split_histograms
from pipeline.evaluation.thresholds import FINGERPRINT, Threshold
from pipeline.raw.dataset import open_dataset, require_samples
from pipeline.raw.splits.names import VALIDATION


def best_threshold(
    histograms: Histogram, metric: str = "f1", averaging: str = "micro", empty_masks: str = "one"
) -> tuple[float, float]:
    """Find the threshold with the highest score.

    Parameters
    ----------
    histograms : (N, 2, 256) array of int64
    metric, averaging, empty_masks
        See `pipeline.evaluation.criteria.score_at_cuts`.

    Returns
    -------
    threshold, score : float
        The threshold lies midway between two levels. Of equally good ones it is the middle one, of an even number the
        higher of the two in the middle. Both are NaN where some threshold has no score: without foreground, or without
        both classes in any picture, it depends on the metric whether there is one.
    """
    scores = score_at_cuts(histograms, metric, averaging, empty_masks)
    if np.isnan(scores).any():
        return math.nan, math.nan
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
    metric: str = "f1",
    averaging: str = "micro",
    empty_masks: str = "one",
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
    metric, averaging, empty_masks : str
        What is made large; see `pipeline.evaluation.criteria.score_at_cuts`.
    split : {'validation', 'out-of-fold'}
        What it is chosen on. Of `OUT_OF_FOLD` samples each is predicted by networks that have not seen it.
    fingerprint : str, optional
        What the threshold is made by (`pipeline.core.fingerprint.Fingerprint.to_json`), to store with it.

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
        value, score = best_threshold(compared.regions[region], metric, averaging, empty_masks)
        by = f"{averaging} {metric}"
        if math.isnan(value):
            raise PredictionError(
                Problem(
                    f"data set {dataset!r}, {split} samples, region {region}",
                    f"masks of which none has a {by} at every threshold",
                    "foreground in some mask of the validation samples; for youden, foreground and background in one",
                    "add such samples, choose another `metric` (micro f1 is always there), or give the experiment a "
                    "number as `threshold`",
                )
            )
        chosen_by = f"{by} {score:.4f}, region {region}, native size, {len(samples)} {split} samples"
        threshold = Threshold(round(value, 6), split, chosen_by, by)
    made_by = {} if fingerprint is None else {FINGERPRINT: json.loads(fingerprint)}
    write_json(output, {**asdict(threshold), **made_by})
    say(f"{experiment}: threshold {threshold.value:.4f} ({threshold.source}) {threshold.chosen_by}")
