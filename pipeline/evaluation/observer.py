"""The second human observer, written as if a network had predicted it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import PipelineError, Problem, RawDataError
from pipeline.files import atomic_folder
from pipeline.fingerprint import sign
from pipeline.png import write_png
from pipeline.progress import track
from pipeline.raw.dataset import open_dataset, require_samples


def write_observer(
    *, dataset: str, split: str, output: Path, source: Mapping[str, Any], fingerprint: str | None = None
) -> None:
    """Write the second observer's masks of one split as probability pictures of 0 and 255.

    Parameters
    ----------
    dataset : str
    split : str
        One whose samples all have a second observer.
    output : Path
        Folder of ``<id>.png``.
    source : mapping
        Keyword arguments of `open_dataset`.
    fingerprint : str, optional
        What the pictures are made by (`pipeline.fingerprint.Fingerprint.to_json`), to store beside them.

    Raises
    ------
    RawDataError
        Listing every sample without a second observer, and every mask that cannot be used.
    """
    raw = open_dataset(dataset, **source)
    samples = require_samples(raw, split)
    problems = [
        Problem(str(sample.image), "no second observer", "one for every sample of the split", "name another split")
        for sample in samples
        if sample.observer is None
    ]
    if problems:
        raise RawDataError(problems)
    with atomic_folder(output) as folder:
        for sample in track(samples, f"{dataset}: second observer", len(samples)):
            try:
                write_png(folder / f"{sample.id}.png", (raw.read_observer(sample) == 1) * np.uint8(255))
            except PipelineError as error:
                problems += error.problems
        if problems:
            raise RawDataError(problems)
        sign(fingerprint, folder)
