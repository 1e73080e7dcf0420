"""Predictions of the unlabelled samples, in the format that the challenge of a data set takes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.core.counts import cut_level
from pipeline.core.errors import ConfigError, PipelineError, PredictionError, Problem, RawDataError
from pipeline.core.files import atomic_folder
from pipeline.core.progress import progress_bar
from pipeline.core.tables import write_table
from pipeline.evaluation.recipes import SubmissionRecipe
from pipeline.evaluation.thresholds import read_threshold
from pipeline.images.png import read_levels, write_png
from pipeline.raw.dataset import open_dataset, require_samples
from pipeline.raw.decode.image import read_image
from pipeline.raw.decode.masks import encode_runs
from pipeline.raw.samples import Sample


def write_submission(
    recipe: SubmissionRecipe, *, experiment: str, predictions: Path, threshold: Path, output: Path
) -> None:
    """Write what can be handed in to the challenge of a data set.

    As ``images``: a PNG of each image, 8 bit, 0 and 255, as large as the image. In the template of its name,
    ``{number}`` stands for the number of the image without leading zeros (``1.png`` to ``20.png``), ``{id}`` for the
    number as the raw file has it. As ``codes``: ``submission.csv`` with the columns ``id`` and ``rle_mask`` (pairs of
    start and length, column-major, starts from 1; an empty mask is an empty text), one row for each image, sorted by
    ``id``.

    Parameters
    ----------
    recipe : SubmissionRecipe
    experiment : str
    predictions : Path
        Folder of the unlabelled samples' probability PNGs.
    threshold : Path
        The file that `pipeline.evaluation.choice.choose_threshold` wrote.
    output : Path
        The folder to write. It appears only when all of it is there.

    Raises
    ------
    ConfigError
        If the data set has no challenge.
    RawDataError
        If there is no unlabelled sample, or several would get one file name.
    PredictionError
        Listing every prediction that is missing, damaged or of another size.
    OutputError
    """
    raw = open_dataset(recipe.dataset, recipe.source)
    layout = raw.source.layout
    if layout.challenge is None:
        raise ConfigError(
            f"data set {raw.name!r}",
            f"the layout {raw.layout!r}, for which no challenge format is known",
            "a layout that says how its challenge takes predictions",
            f"use the images in {predictions.parent / 'mask'}",
        )
    as_codes = layout.challenge == "codes"
    samples = require_samples(raw, "unlabelled")
    names = {} if as_codes else _file_names(samples, layout.submitted_as())
    cut = cut_level(read_threshold(threshold).value)
    codes: dict[str, str] = {}
    problems: list[Problem] = []
    with atomic_folder(output) as folder:
        for sample in progress_bar(samples, f"{experiment}: submission", len(samples)):
            try:
                height, width = read_image(sample.image, "grey").shape[:2]
                mask = (read_levels(predictions / f"{sample.id}.png", height, width) > cut).astype(np.uint8)
            except PipelineError as error:
                problems += error.problems
                continue
            if as_codes:
                codes[sample.id] = encode_runs(mask)
            else:
                write_png(folder / names[sample.id], mask * np.uint8(255))
        if problems:
            raise PredictionError(problems)
        if as_codes:
            write_table(folder / "submission.csv", pd.DataFrame(sorted(codes.items()), columns=["id", "rle_mask"]))


def _file_names(samples: Sequence[Sample], template: str) -> dict[str, str]:
    """Name the file of each sample; two that would be one are refused."""
    by_name: dict[str, list[Sample]] = {}
    for sample in samples:
        name = template.replace("{number}", str(int(sample.id))).replace("{id}", sample.id)
        by_name.setdefault(name, []).append(sample)
    problems = [
        Problem(
            ", ".join(sample.image for sample in some),
            f"{len(some)} images that would be handed in as {name}",
            "one file for each image",
            "rename or remove all but one, or set `submission_name` to '{id}.png'",
        )
        for name, some in by_name.items()
        if len(some) > 1
    ]
    if problems:
        raise RawDataError(problems)
    return {sample.id: name for name, (sample,) in by_name.items()}
