"""Baselines that need no training, written as if a network had predicted them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.counts import to_levels
from pipeline.core.errors import ConfigError, PipelineError, Problem, RawDataError
from pipeline.core.files import atomic_folder
from pipeline.core.fingerprint import sign
from pipeline.core.progress import track
from pipeline.evaluation.entrants import BACKGROUND, BASELINES, OBSERVER
from pipeline.images.png import write_png
from pipeline.raw.dataset import RawDataset, open_dataset, require_samples
from pipeline.raw.samples import Sample
from pipeline.shards.prepare import resize_image, resize_mask


def write_baseline(
    *,
    dataset: str,
    split: str,
    kind: str,
    output: Path,
    source: Mapping[str, Any],
    size: Sequence[int] | None = None,
    interpolation: str = "area",
    fingerprint: str | None = None,
) -> None:
    """Write a baseline of one split as probability pictures.

    Parameters
    ----------
    dataset : str
    split : str
        One with masks; for the second observer, one whose samples all have one.
    kind : {'second-observer', 'all-background', 'resolution-ceiling'}
        The second observer's masks; zeros; or the masks, resized to the working size as shards resize them and back
        as predictions are resized.
    output : Path
        Folder of ``<id>.png``, 8-bit grey, as large as the masks.
    source : mapping
        Keyword arguments of `open_dataset`.
    size : (int, int), optional
        Height and width that the networks of the data set work at, for the resolution ceiling; without it they work
        at the native size.
    interpolation : {'area', 'linear'}
        How shards resize soft masks.
    fingerprint : str, optional
        What the pictures are made by (`pipeline.core.fingerprint.Fingerprint.to_json`), to store beside them.

    Raises
    ------
    ConfigError
        If there is no such baseline, or the data set has several classes.
    RawDataError
        Listing every sample without a second observer, and every mask that cannot be used.
    """
    raw = open_dataset(dataset, **source)
    _require_kind(kind, raw)
    samples = require_samples(raw, split)
    problems = [
        Problem(str(sample.image), "no second observer", "one for every sample of the split", "name another split")
        for sample in samples
        if kind == OBSERVER and sample.observer is None
    ]
    if problems:
        raise RawDataError(problems)
    with atomic_folder(output) as folder:
        for sample in track(samples, f"{dataset}: {kind}", len(samples)):
            try:
                levels = _levels(raw, sample, kind, None if size is None else (size[0], size[1]), interpolation)
                write_png(folder / f"{sample.id}.png", levels)
            except PipelineError as error:
                problems += error.problems
        if problems:
            raise RawDataError(problems)
        sign(fingerprint, folder)


def _levels(
    raw: RawDataset, sample: Sample, kind: str, size: tuple[int, int] | None, interpolation: str
) -> NDArray[np.uint8]:
    if kind == OBSERVER:
        return np.where(raw.read_observer(sample) == 1, np.uint8(255), np.uint8(0))
    truth = raw.read_truth(sample)
    if kind == BACKGROUND:
        return np.zeros_like(truth)
    native = int(truth.shape[0]), int(truth.shape[1])
    height, width = size or native
    if raw.mask_kind == "soft":
        probability = resize_image(truth, height, width, interpolation).astype(np.float32) / np.float32(255)
    else:
        probability = (resize_mask(truth, height, width) == 1).astype(np.float32)
    return to_levels(resize_image(probability, *native))


def _require_kind(kind: str, raw: RawDataset) -> None:
    if kind not in BASELINES:
        expected, remedy = f"one of {', '.join(BASELINES)}", "correct the name"
        raise ConfigError(Problem("kind", repr(kind), expected, remedy))
    if raw.multiclass:
        found = f"{len(raw.classes)} classes: {', '.join(raw.classes)}"
        raise ConfigError(Problem(f"data set {raw.name!r}", found, "two classes", "leave its baselines out"))
