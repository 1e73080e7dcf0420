"""The mean of what several networks predict, made from their stored probabilities; no network is run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import PipelineError, PredictionError, Problem
from pipeline.core.files import atomic_folder
from pipeline.core.parallel import in_order
from pipeline.core.progress import log, progress_bar
from pipeline.images.png import read_grey, write_png
from pipeline.prediction.recipes import EnsembleRecipe, Run
from pipeline.raw.splits.fold_table import read_fold_table

_SHOWN = 5  # identifiers that a message names


def average_predictions(
    recipe: EnsembleRecipe,
    *,
    experiment: str,
    predictions: Sequence[Path],
    output: Path,
    folds: Path | None = None,
    threads: int = 1,
) -> None:
    """Average the probabilities of several runs, image by image.

    Levels (0 to 255) are averaged and rounded to levels again, halves to even. A level is within 1/510 of what its
    network said, so a mean is within 1/255 of the mean of what the networks said.

    Parameters
    ----------
    recipe : EnsembleRecipe
    experiment : str
    predictions : sequence of Path
        For each run, in the order of their names, its folder of ``<id>.png``; of several classes, a folder of that kind
        for each class.
    output : Path
        Folder; as `pipeline.prediction.predict.predict` writes it.
    folds : Path, optional
        Each image is averaged over those runs whose fold it belongs to: the networks that have not seen it. Without
        it, over all runs.
    threads : int
        Images at a time.

    Raises
    ------
    PredictionError
        Listing every run that lacks images or has others than it should, and every image that cannot be used.
    RawDataError
        If the table of folds cannot be used.
    OutputError
    """
    ensemble, split = f"ensemble of {experiment}", recipe.split
    if len(predictions) != len(recipe.runs):
        found, expected = (
            f"{len(predictions)} folders for {len(recipe.runs)} runs",
            "one for each, in the order of names",
        )
        raise PredictionError(ensemble, found, expected, "name the folder of each run")
    planes = [""] if recipe.classes is None else [title.replace("/", "-") for title in recipe.classes]
    table = read_fold_table(folds, recipe.folds) if folds is not None and recipe.folds is not None else None
    members = _members(ensemble, recipe.runs, predictions, planes, table)

    def average(name: str) -> tuple[Problem, ...]:
        try:
            sums = np.stack([_sum([root / plane / f"{name}.png" for root in members[name]]) for plane in planes])
        except PipelineError as error:
            return error.problems
        if recipe.kind == "mask":
            write_png(folder / f"{name}.png", sums.argmax(axis=0).astype(np.uint8))
            return ()
        for plane, levels in zip(planes, mean_levels(sums, len(members[name])), strict=True):
            (folder / plane).mkdir(exist_ok=True)
            write_png(folder / plane / f"{name}.png", levels)
        return ()

    with atomic_folder(output) as folder:
        done = in_order(average, members, threads)
        problems = [one for some in progress_bar(done, f"{ensemble}: {split} samples", len(members)) for one in some]
        if problems:
            raise PredictionError(problems)
    several = sorted({len(roots) for roots in members.values()})
    log(f"{ensemble}: {len(members)} {split} samples, each the mean of {' or '.join(map(str, several))} networks")


def mean_levels(sums: NDArray[np.uint32], count: int) -> NDArray[np.uint8]:
    """Return the mean of `count` levels from their sum, rounded to the nearest level, halves to even."""
    return np.rint(sums / count).astype(np.uint8)


def _sum(images: Sequence[Path]) -> NDArray[np.uint32]:
    """Add up the levels of one image of several runs."""
    first = read_grey(images[0])
    total = first.astype(np.uint32)
    for path in images[1:]:
        levels = read_grey(path)
        if levels.shape != first.shape:
            raise PredictionError(
                str(path),
                f"a size of {levels.shape}",
                f"{first.shape} (height, width), as {images[0]} has it",
                "delete the folder that is not of the size of the raw image and run snakemake again",
            )
        total += levels
    return total


def _members(
    ensemble: str,
    runs: Mapping[str, Run],
    predictions: Sequence[Path],
    planes: Sequence[str],
    folds: Sequence[frozenset[str]] | None,
) -> dict[str, list[Path]]:
    """Return for each image the folders of the runs that predict it, sorted by identifier."""
    by_run = dict(zip(sorted(runs), predictions, strict=True))
    found = {run: {plane: _images(root / plane) for plane in planes} for run, root in by_run.items()}
    wanted = dict.fromkeys(found, frozenset().union(*next(iter(found.values())).values()))
    if folds is not None:
        wanted = {run: folds[fold.fold] for run in found if (fold := runs[run].fold) is not None}
    problems = [
        Problem(
            str(by_run[run] / plane),
            words,
            "an image of each sample, as the other runs have",
            "delete the folder and run snakemake again",
        )
        for run, of_run in found.items()
        for plane, names in of_run.items()
        for words in _misfits(names, wanted[run])
    ]
    members: dict[str, list[Path]] = {name: [] for name in sorted(frozenset().union(*(folds or wanted.values())))}
    for run, names in wanted.items():
        for name in names:
            members[name].append(by_run[run])
    if alone := [name for name, roots in members.items() if not roots]:
        words = f"{len(alone)} samples that no run predicts: {', '.join(alone[:_SHOWN])}"
        problems.append(Problem(ensemble, words, "a run for each fold", "name all runs of the experiment"))
    if problems:
        raise PredictionError(problems)
    return members


def _images(folder: Path) -> frozenset[str]:
    """Return the identifiers of the images in a folder, none where there is no folder."""
    return frozenset(path.stem for path in folder.glob("*.png"))


def _misfits(found: frozenset[str], wanted: frozenset[str]) -> list[str]:
    """Say which images are missing, and which should not be there."""
    if not wanted:
        return ["no images"]
    return [
        f"{words} {', '.join(sorted(names)[:_SHOWN])}{', ...' * (len(names) > _SHOWN)}"
        for words, names in (("no image of", wanted - found), ("images that do not belong there:", found - wanted))
        if names
    ]
