"""Write predictions of the unlabelled samples in the format of the challenge of a data set."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.core.counts import threshold_level
from pipeline.core.errors import ConfigError, PipelineError, PredictionError, Problem, RawDataError, join_first
from pipeline.core.files import atomic_folder, has_long_name
from pipeline.core.fine_levels import as_levels
from pipeline.core.progress import progress_bar
from pipeline.core.tables import write_table
from pipeline.evaluation.recipes import SubmissionRecipe
from pipeline.evaluation.thresholds import read_threshold
from pipeline.images.foreign import require_levels
from pipeline.images.png import read_probability, write_png
from pipeline.raw.dataset import open_dataset, require_samples
from pipeline.raw.decode.masks import encode_rle
from pipeline.raw.samples import Sample


def write_submission(
    recipe: SubmissionRecipe, *, experiment: str, predictions: Path, threshold: Path, output: Path
) -> None:
    """Write a submission to the challenge of a data set.

    Format ``images``: a PNG for each image, 8 bit, 0 and 255, at the size of the image. In the file name template,
    ``{number}`` is the number of the image without leading zeros (``1.png`` to ``20.png``), ``{id}`` the number as in
    the raw file name. Format ``rle``: ``submission.csv`` with the columns ``id`` and ``rle_mask`` (pairs of start and
    length, column-major, starts from 1; empty text for an empty mask), one row for each image, sorted by ``id``.

    Parameters
    ----------
    recipe : SubmissionRecipe
    experiment : str
    predictions : Path
        Folder of the unlabelled samples' probability PNGs.
    threshold : Path
        File that `pipeline.evaluation.choice.choose_threshold` wrote.
    output : Path
        Folder of the submission, created when all its files are complete.

    Raises
    ------
    ConfigError
        If the data set has no challenge.
    RawDataError
        If there is no unlabelled sample, or several samples would have the same file name.
    PredictionError
        Lists every prediction that is missing, damaged or of another size.
    OutputError
    """
    raw = open_dataset(recipe.dataset, recipe.source)
    layout = raw.source.layout
    if layout.challenge is None:
        raise ConfigError(
            f"data set {raw.name!r}",
            f"the layout {raw.layout!r}, which has no challenge format",
            "a layout with a challenge format",
            f"use the images in {predictions.parent / 'mask'}",
        )
    as_rle = layout.challenge == "rle"
    samples = require_samples(raw, "unlabelled")
    names = {} if as_rle else _file_names(samples, layout.submission_template())
    level = threshold_level(read_threshold(threshold).value)
    require_levels(predictions, (sample.id for sample in samples))
    codes: dict[str, str] = {}
    problems: list[Problem] = []
    with atomic_folder(output) as folder:
        for sample in progress_bar(samples, f"{experiment}: submission", len(samples)):
            try:
                height, width = raw.read_image(sample, "grey")[0].shape[:2]
                mask = (as_levels(read_probability(predictions / f"{sample.id}.png", height, width)) > level).astype(
                    np.uint8
                )
            except PipelineError as error:
                problems += error.problems
                continue
            if as_rle:
                codes[sample.id] = encode_rle(mask)
            else:
                write_png(folder / names[sample.id], mask * np.uint8(255))
        if problems:
            raise PredictionError(problems)
        if as_rle:
            write_table(folder / "submission.csv", pd.DataFrame(sorted(codes.items()), columns=["id", "rle_mask"]))


def _file_names(samples: Sequence[Sample], template: str) -> dict[str, str]:
    """Return the file name of each sample; refuse samples with the same file name."""
    by_name: dict[str, list[Sample]] = {}
    for sample in samples:
        name = template.replace("{number}", str(int(sample.id))).replace("{id}", sample.id)
        by_name.setdefault(name, []).append(sample)
    problems = [
        Problem(
            join_first(sample.image for sample in same_name),
            f"{len(same_name)} images that would be submitted as {name}",
            "one file for each image",
            "rename all but one, or set `submission_name` to '{id}.png'",
        )
        for name, same_name in by_name.items()
        if len(same_name) > 1
    ]
    problems += [
        Problem(name, "a file name that is too long", "at most 255 bytes", "choose a shorter `submission_name`")
        for name in by_name
        if has_long_name(name)
    ]
    if problems:
        raise RawDataError(problems)
    return {sample.id: name for name, (sample,) in by_name.items()}
