"""Choose the threshold that converts probabilities to masks: on validation samples, or fixed. Never on test samples."""

import math
from dataclasses import asdict
from pathlib import Path

from pipeline.core.errors import PredictionError, plural
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
    threads: int = 1,
) -> None:
    """Write the threshold of an experiment.

    Parameters
    ----------
    recipe : ThresholdRecipe
    experiment : str
    output : Path
        JSON file with the fields of `Threshold`.
    predictions : Path, optional
        Folder of the validation samples' probabilities; not needed for a fixed threshold.
    threads : int
        Images that are counted at a time.

    Raises
    ------
    RawDataError, PredictionError, OutputError
    """
    if recipe.fixed is not None:
        threshold = Threshold(recipe.fixed, "fixed")
    else:
        threshold = _choose(recipe, experiment, predictions, threads)
    write_json(output, asdict(threshold))
    log(f"{experiment}: threshold {threshold.value:.4f} ({threshold.source}) {threshold.criterion}")


def _choose(recipe: ThresholdRecipe, experiment: str, predictions: Path | None, threads: int) -> Threshold:
    """Find the threshold with the best score on the validation samples."""
    if predictions is None or recipe.source is None or recipe.criterion is None:
        raise ValueError("a threshold from validation needs predictions and the source of the masks")
    raw, split = open_dataset(recipe.dataset, recipe.source), recipe.split
    split_counts = count_split(raw, split, predictions, experiment, threads=threads)
    region = split_counts.main_region
    histograms = split_counts.regions[region]
    samples = f"data set {raw.name!r}, {split} samples, region {region}"
    if not histograms.any():
        raise PredictionError(
            samples,
            "only ignored pixels in this region",
            "masks with pixels that are not ignored",
            "set `threshold` of the experiment to a number, or correct the masks",
        )
    metric, averaging = recipe.criterion.metric, recipe.criterion.averaging
    value, score = best_threshold(histograms, metric, averaging, recipe.empty_masks)
    score_name = f"{averaging} {metric}"
    if math.isnan(value):
        raise PredictionError(
            samples,
            f"{score_name} is not defined for every threshold",
            "foreground in a mask of the validation samples; for youden, foreground and background in one mask",
            "add such samples, choose another `metric` (micro f1 is always defined), or set `threshold` of the "
            "experiment to a number",
        )
    criterion = f"{score_name} {score:.4f}, region {region}, native size, {plural(len(histograms), f'{split} sample')}"
    return Threshold(round(value, 6), split, criterion, score_name)
