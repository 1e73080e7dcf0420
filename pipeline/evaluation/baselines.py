"""Baselines that need no training, written in the form of network predictions."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.counts import to_levels
from pipeline.core.errors import ConfigError, PipelineError, Problem, RawDataError
from pipeline.core.files import atomic_folder
from pipeline.core.progress import progress_bar
from pipeline.evaluation.methods import BACKGROUND, OBSERVER
from pipeline.evaluation.recipes import BaselineRecipe
from pipeline.images.png import write_png
from pipeline.raw.dataset import RawDataset, open_dataset, require_samples
from pipeline.raw.samples import Sample
from pipeline.shards.masks import resize_mask
from pipeline.shards.prepare import resize_image


def write_baseline(recipe: BaselineRecipe, *, output: Path) -> None:
    """Write a baseline of one split as probability images.

    Parameters
    ----------
    recipe : BaselineRecipe
    output : Path
        Folder of ``<id>.png``, 8-bit grey, at the size of the masks.

    Raises
    ------
    ConfigError
        If the data set has several classes.
    RawDataError
        Lists every sample without a second observer, and every mask that cannot be used.
    """
    raw, split, kind = open_dataset(recipe.dataset, recipe.source), recipe.split, recipe.kind
    if raw.multiclass:
        classes = f"{len(raw.classes)} classes: {', '.join(raw.classes)}"
        raise ConfigError(f"data set {raw.name!r}", classes, "two classes", "remove `baselines` of this data set")
    samples = require_samples(raw, split)
    problems = [
        Problem(str(sample.image), "no second observer", "one for every sample of the split", "choose another split")
        for sample in samples
        if kind == OBSERVER and sample.observer is None
    ]
    if problems:
        raise RawDataError(problems)
    with atomic_folder(output) as folder:
        for sample in progress_bar(samples, f"{raw.name}: {kind}", len(samples)):
            try:
                write_png(folder / f"{sample.id}.png", _levels(raw, sample, recipe))
            except PipelineError as error:
                problems += error.problems
        if problems:
            raise RawDataError(problems)


def _levels(raw: RawDataset, sample: Sample, recipe: BaselineRecipe) -> NDArray[np.uint8]:
    """Return the baseline of one sample as levels 0..255, (H, W) at native size."""
    if recipe.kind == OBSERVER:
        return np.where(raw.read_observer(sample) == 1, np.uint8(255), np.uint8(0))
    truth = raw.read_truth(sample)
    if recipe.kind == BACKGROUND:
        return np.zeros_like(truth)
    native = int(truth.shape[0]), int(truth.shape[1])
    height, width = recipe.size if isinstance(recipe.size, tuple) else native
    if raw.mask_kind == "soft":
        resized = resize_image(truth, height, width, recipe.interpolation or "area")
        probability = resized.astype(np.float32) / np.float32(255)
    else:
        probability = (resize_mask(truth, height, width, recipe.mask_resize or "nearest") == 1).astype(np.float32)
    return to_levels(resize_image(probability, *native))
