"""Choose the threshold that makes a mask of a probability: on validation samples, or fixed. Never on test."""

import json
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np

from pipeline.core.counts import LEVELS, Histogram
from pipeline.core.errors import PredictionError
from pipeline.core.files import write_json
from pipeline.core.progress import say
from pipeline.evaluation.criteria import score_at_cuts
from pipeline.evaluation.histograms import split_histograms
from pipeline.evaluation.metrics import CRITERIA
from pipeline.evaluation.recipes import ThresholdRecipe
from pipeline.evaluation.thresholds import FINGERPRINT, Threshold
from pipeline.raw.dataset import open_dataset, require_samples


def best_threshold(
    histograms: Histogram, metric: str = "f1", averaging: str = "micro", empty_masks: str = "one"
) -> tuple[float, float]:
    """Find the threshold with the best score.

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
    return (cut + 0.5) / (LEVELS - 1), float(-scores[cut] if CRITERIA[metric].lower_is_better else scores[cut])


def choose_threshold(
    recipe: ThresholdRecipe,
    *,
    experiment: str,
    output: Path,
    predictions: Path | None = None,
    fingerprint: str | None = None,
) -> None:
    """Write the threshold of an experiment.

    Parameters
    ----------
    recipe : ThresholdRecipe
    experiment : str
    output : Path
        JSON file; see `Threshold`.
    predictions : Path, optional
        Folder of the validation samples' probabilities; not needed for a fixed threshold.
    fingerprint : str, optional
        What the threshold is made by (`pipeline.core.fingerprint.Fingerprint.to_json`), to store with it.

    Raises
    ------
    RawDataError, PredictionError, OutputError
    """
    if recipe.fixed is not None:
        threshold = Threshold(recipe.fixed, "fixed")
    else:
        threshold = _choose(recipe, experiment, predictions)
    made_by = {} if fingerprint is None else {FINGERPRINT: json.loads(fingerprint)}
    write_json(output, {**asdict(threshold), **made_by})
    say(f"{experiment}: threshold {threshold.value:.4f} ({threshold.source}) {threshold.chosen_by}")


def _choose(recipe: ThresholdRecipe, experiment: str, predictions: Path | None) -> Threshold:
    """Find the threshold that makes the score of the validation samples best."""
    if predictions is None or recipe.source is None or recipe.chosen is None:
        raise ValueError("a threshold from validation needs predictions and the source of the masks")
    raw = open_dataset(recipe.dataset, recipe.source)
    split, samples = recipe.split, require_samples(raw, recipe.split)
    compared = split_histograms(raw, samples, predictions, f"{experiment}: {split} samples")
    region = compared.main_region
    where = f"data set {raw.name!r}, {split} samples, region {region}"
    if not compared.regions[region].any():
        raise PredictionError(
            where,
            "no pixel that counts",
            "masks that are not void everywhere",
            "give the experiment a number as `threshold`, or correct the masks",
        )
    metric, averaging = recipe.chosen.metric, recipe.chosen.averaging
    value, score = best_threshold(compared.regions[region], metric, averaging, recipe.empty_masks)
    by = f"{averaging} {metric}"
    if math.isnan(value):
        raise PredictionError(
            where,
            f"masks of which none has a {by} at every threshold",
            "foreground in some mask of the validation samples; for youden, foreground and background in one",
            "add such samples, choose another `metric` (micro f1 is always there), or give the experiment a number "
            "as `threshold`",
        )
    chosen_by = f"{by} {score:.4f}, region {region}, native size, {len(samples)} {split} samples"
    return Threshold(round(value, 6), split, chosen_by, by)
