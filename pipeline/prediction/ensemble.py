"""The mean of what several networks predict, made from their stored probabilities; no network is run."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import PipelineError, PredictionError, Problem
from pipeline.core.files import atomic_folder
from pipeline.core.fingerprint import sign
from pipeline.core.parallel import in_order
from pipeline.core.progress import say, track
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
    fingerprint: str | None = None,
) -> None:
    """Average the probabilities of several runs, picture by picture.

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
        Each picture is averaged over those runs whose fold it belongs to: the networks that have not seen it. Without
        it, over all runs.
    threads : int
        Pictures at a time.
    fingerprint : str, optional
        What the ensemble is made by (`pipeline.core.fingerprint.Fingerprint.to_json`), to store beside it.

    Raises
    ------
    PredictionError
        Listing every run that lacks pictures or has others than it should, and every picture that cannot be used.
    RawDataError
        If the table of folds cannot be used.
    OutputError
    """
    ensemble, runs, classes, split = f"ensemble of {experiment}", recipe.runs, recipe.classes, recipe.split
    if len(predictions) != len(runs):
        found, expected = (
            f"{len(predictions)} folders for {len(runs)} runs",
            "one for each, in the order of names",
        )
        raise PredictionError(ensemble, found, expected, "name the folder of each run")
    table = read_fold_table(folds, recipe.folds) if folds is not None and recipe.folds is not None else None
    by_run = dict(zip(sorted(runs), predictions, strict=True))
    planes = [""] if classes is None else [title.replace("/", "-") for title in classes]
    members = _members(ensemble, runs, by_run, planes, table)
    as_mask = recipe.kind == "mask"
    with atomic_folder(output) as folder:
        for plane in planes if not as_mask else ():
            (folder / plane).mkdir(exist_ok=True)

        def average(name: str) -> tuple[Problem, ...]:
            try:
                sums = np.stack([_sum([root / plane / f"{name}.png" for root in members[name]]) for plane in planes])
            except PipelineError as error:
                return error.problems
            if as_mask:
                write_png(folder / f"{name}.png", sums.argmax(axis=0).astype(np.uint8))
            else:
                for plane, levels in zip(planes, mean_levels(sums, len(members[name])), strict=True):
                    write_png(folder / plane / f"{name}.png", levels)
            return ()

        done = in_order(average, members, threads)
        problems = [one for some in track(done, f"{ensemble}: {split} samples", len(members)) for one in some]
        if problems:
            raise PredictionError(problems)
        sign(fingerprint, folder)
    several = sorted({len(roots) for roots in members.values()})
    say(f"{ensemble}: {len(members)} {split} samples, each the mean of {' or '.join(map(str, several))} networks")


def mean_levels(sums: NDArray[np.uint32], count: int) -> NDArray[np.uint8]:
    """Return the mean of `count` levels from their sum, rounded to the nearest level, halves to even."""
    return np.rint(sums / count).astype(np.uint8)


def _sum(pictures: Sequence[Path]) -> NDArray[np.uint32]:
    """Add up the levels of one picture of several runs."""
    first = read_grey(pictures[0])
    total = first.astype(np.uint32)
    for path in pictures[1:]:
        levels = read_grey(path)
        if levels.shape != first.shape:
            raise PredictionError(
                str(path),
                f"a size of {levels.shape}",
                f"{first.shape} (height, width), as {pictures[0]} has it",
                "delete the folder that is not of the size of the raw picture and run snakemake again",
            )
        total += levels
    return total


def _members(
    ensemble: str,
    runs: Mapping[str, Run],
    predictions: Mapping[str, Path],
    planes: Sequence[str],
    folds: Sequence[frozenset[str]] | None,
) -> dict[str, list[Path]]:
    """Return for each picture the folders of the runs that predict it, sorted by identifier."""
    found = {run: {plane: _pictures(predictions[run] / plane) for plane in planes} for run in sorted(runs)}
    wanted = dict.fromkeys(found, frozenset().union(*next(iter(found.values())).values()))
    if folds is not None:
        wanted = {run: folds[fold.fold] for run in found if (fold := runs[run].fold) is not None}
    problems = [
        problem
        for run, of_run in found.items()
        for plane, names in of_run.items()
        for problem in _misfits(predictions[run] / plane, names, wanted[run])
    ]
    members: dict[str, list[Path]] = {name: [] for name in sorted(frozenset().union(*(folds or wanted.values())))}
    for run, names in wanted.items():
        for name in names:
            members[name].append(predictions[run])
    if alone := [name for name, roots in members.items() if not roots]:
        found_words = f"{len(alone)} samples that no run predicts: {', '.join(alone[:_SHOWN])}"
        problems.append(Problem(ensemble, found_words, "a run for each fold", "name all runs of the experiment"))
    if problems:
        raise PredictionError(problems)
    return members


def _pictures(folder: Path) -> frozenset[str]:
    if not folder.is_dir():
        return frozenset()
    return frozenset(path.name.removesuffix(".png") for path in folder.iterdir() if path.suffix == ".png")


def _misfits(folder: Path, found: frozenset[str], wanted: frozenset[str]) -> Iterator[Problem]:
    """Say which pictures are missing in a folder, and which should not be there."""
    for words, names in (("no picture of", wanted - found), ("pictures that do not belong there:", found - wanted)):
        if names or not wanted:
            more = ", ..." if len(names) > _SHOWN else ""
            yield Problem(
                str(folder),
                f"{words} {', '.join(sorted(names)[:_SHOWN])}{more}" if names else "no pictures",
                "a picture of each sample, as the other runs have",
                "delete the folder and run snakemake again",
            )
        if not wanted:
            return
