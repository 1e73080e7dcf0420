"""Choose the threshold that makes a mask of a probability: on validation samples, or fixed. Never on test."""

import math
from dataclasses import asdict
from pathlib import Path

from pipeline.core.errors import PredictionError
from pipeline.core.progress import log
from pipeline.core.tables import write_json
from pipeline.evaluation.criteria import best_threshold
from pipeline.evaluation.recipes import ThresholdRecipe
from pipeline.evaluation.regions import count_split
from pipeline.evaluation.thresholds import Threshold
from pipeline.raw.dataset import open_dataset


def choose_threshold(
    recipe: ThresholdRecipe,
    *,
    experiment: str,
    output: Path,
    predictions: Path | None = None,
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

    Raises
    ------
    RawDataError, PredictionError, OutputError
    """
    if recipe.fixed is not None:
        threshold = Threshold(recipe.fixed, "fixed")
    else:
        threshold = _choose(recipe, experiment, predictions)
    write_json(output, asdict(threshold))
    log(f"{experiment}: threshold {threshold.value:.4f} ({threshold.source}) {threshold.chosen_by}")


def _choose(recipe: ThresholdRecipe, experiment: str, predictions: Path | None) -> Threshold:
    """Find the threshold that makes the score of the validation samples best."""
    if predictions is None or recipe.source is None or recipe.chosen is None:
        raise ValueError("a threshold from validation needs predictions and the source of the masks")
    raw, split = open_dataset(recipe.dataset, recipe.source), recipe.split
    compared = count_split(raw, split, predictions, experiment)
    region = compared.main_region
    histograms = compared.regions[region]
    where = f"data set {raw.name!r}, {split} samples, region {region}"
    if not histograms.any():
        raise PredictionError(
            where,
            "no pixel that counts",
            "masks that are not void everywhere",
            "give the experiment a number as `threshold`, or correct the masks",
        )
    metric, averaging = recipe.chosen.metric, recipe.chosen.averaging
    value, score = best_threshold(histograms, metric, averaging, recipe.empty_masks)
    by = f"{averaging} {metric}"
    if math.isnan(value):
        raise PredictionError(
            where,
            f"masks of which none has a {by} at every threshold",
            "foreground in some mask of the validation samples; for youden, foreground and background in one",
            "add such samples, choose another `metric` (micro f1 is always there), or give the experiment a number "
            "as `threshold`",
        )
    chosen_by = f"{by} {score:.4f}, region {region}, native size, {len(histograms)} {split} samples"
    return Threshold(round(value, 6), split, chosen_by, by)
