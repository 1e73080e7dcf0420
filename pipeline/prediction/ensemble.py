"""Ensembles: the mean of the stored probabilities of several networks. No network is run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from pipeline.core.errors import PipelineError, PredictionError, Problem, plural
from pipeline.core.files import atomic_folder, visible_paths
from pipeline.core.fine_levels import StoredLevels
from pipeline.core.manifest import remake_remedy
from pipeline.core.parallel import thread_map
from pipeline.core.progress import log, progress_bar
from pipeline.images.foreign import require_levels
from pipeline.images.png import read_stored_levels, write_png
from pipeline.prediction.recipes import EnsembleRecipe, Run
from pipeline.raw.splits.fold_table import read_fold_table

_MAX_LISTED = 5  # identifiers that a message lists


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

    The mean of the levels is rounded to a level, halves down: of 8 bits, 0 to 255, or of 16 bits, 0 to 65535, as the
    runs have them. A level of 8 bits is within 1/510 of the probability that its network returned, so a mean is within
    1/255 of the mean of these probabilities.

    Parameters
    ----------
    recipe : EnsembleRecipe
    experiment : str
    predictions : sequence of Path
        The folder of ``<id>.png`` of each run, in the order of the runs' names; with several classes, it has one such
        subfolder for each class.
    output : Path
        Folder in the form that `pipeline.prediction.predict.predict` writes.
    folds : Path, optional
        Table of folds: each image is averaged over the runs that are validated on its fold, whose networks were not
        trained on it. Without a table, each image is averaged over all runs.
    threads : int
        Images that are averaged at a time.

    Raises
    ------
    PredictionError
        Lists every run with missing or unexpected images, and every image that cannot be used. Also for a folder of
        another program that contains masks of other values than 0 and 255.
    RawDataError
        If the table of folds cannot be used.
    OutputError
    """
    ensemble, split = f"ensemble of {experiment}", recipe.split
    if len(predictions) != len(recipe.runs):
        mismatch = f"{plural(len(predictions), 'folder')} for {plural(len(recipe.runs), 'run')}"
        raise PredictionError(
            ensemble, mismatch, "one folder for each run", "pass the folders in the order of the runs"
        )
    planes = [""] if recipe.classes is None else [class_name.replace("/", "-") for class_name in recipe.classes]
    table = read_fold_table(folds, recipe.folds) if folds is not None and recipe.folds is not None else None
    folders_by_id = _folders_by_id(ensemble, recipe.runs, predictions, planes, table)
    for folder in predictions if recipe.classes is None else ():
        require_levels(folder, sorted(_image_ids(folder)))

    def average(name: str) -> tuple[Problem, ...]:
        try:
            of_runs = [[root / plane / f"{name}.png" for root in folders_by_id[name]] for plane in planes]
            sums, dtypes = zip(*map(_sum_levels, of_runs), strict=True)
        except PipelineError as error:
            return error.problems
        if recipe.kind == "mask":
            rows = zip(*sums, strict=True)
            write_png(folder / f"{name}.png", np.stack([np.argmax(row, axis=0).astype(np.uint8) for row in rows]))
            return ()
        for plane, plane_sums, dtype in zip(planes, sums, dtypes, strict=True):
            (folder / plane).mkdir(exist_ok=True)
            write_png(folder / plane / f"{name}.png", mean_levels(plane_sums, len(folders_by_id[name]), dtype))
        return ()

    with atomic_folder(output) as folder:
        results = progress_bar(
            thread_map(average, folders_by_id, threads), f"{ensemble}: {split} samples", len(folders_by_id)
        )
        problems = [problem for image_problems in results for problem in image_problems]
        if problems:
            raise PredictionError(problems)
    counts = " or ".join(map(str, sorted({len(roots) for roots in folders_by_id.values()})))
    log(f"{ensemble}: {plural(len(folders_by_id), f'{split} sample')}, each the mean of {counts} networks")


def mean_levels(sums: NDArray[np.uint32], count: int, dtype: DTypeLike = np.uint8) -> NDArray[Any]:
    """Return the mean of `count` levels from their sums (H, W), rounded with halves down; memory holds one row more."""
    return np.stack([np.ceil(row / count - 0.5).astype(dtype) for row in sums])


def _sum_levels(images: Sequence[Path]) -> tuple[NDArray[np.uint32], DTypeLike]:
    """Sum the levels that several runs predicted for one image; also return the type of the levels."""
    first = read_stored_levels(images[0])
    total = first.astype(np.uint32)
    for path in images[1:]:
        levels = read_stored_levels(path)
        if (levels.shape, levels.dtype) != (first.shape, first.dtype):
            raise PredictionError(
                str(path),
                f"a size of {levels.shape}, {_bits(levels)} bits",
                f"{first.shape} (height, width) and {_bits(first)} bits, as {images[0]}",
                remake_remedy(path, "save the predictions of all runs at the size of the raw images, with equal bits"),
            )
        total += levels
    return total, first.dtype


def _bits(levels: StoredLevels) -> int:
    return 8 * levels.dtype.itemsize


def _folders_by_id(
    ensemble: str,
    runs: Mapping[str, Run],
    predictions: Sequence[Path],
    planes: Sequence[str],
    folds: Sequence[frozenset[str]] | None,
) -> dict[str, list[Path]]:
    """Return the folders of the runs that predict each image, sorted by identifier."""
    folder_of_run = dict(zip(sorted(runs), predictions, strict=True))
    ids_of_run = {run: {plane: _image_ids(root / plane) for plane in planes} for run, root in folder_of_run.items()}
    expected_ids = dict.fromkeys(ids_of_run, frozenset().union(*next(iter(ids_of_run.values())).values()))
    if folds is not None:
        expected_ids = {run: folds[fold.fold] for run in ids_of_run if (fold := runs[run].fold) is not None}
    problems = [
        Problem(
            str(folder_of_run[run] / plane),
            mismatch,
            "one image for each sample, as in the folders of the other runs",
            remake_remedy(folder_of_run[run] / plane, "name the folders of all runs of one split"),
        )
        for run, ids_of_plane in ids_of_run.items()
        for plane, ids in ids_of_plane.items()
        for mismatch in _mismatches(ids, expected_ids[run])
    ]
    all_ids = frozenset().union(*(folds or expected_ids.values()))
    folders_by_id: dict[str, list[Path]] = {name: [] for name in sorted(all_ids)}
    for run, ids in expected_ids.items():
        for name in ids:
            folders_by_id[name].append(folder_of_run[run])
    if unpredicted := [name for name, roots in folders_by_id.items() if not roots]:
        mismatch = f"{plural(len(unpredicted), 'sample')} that no run predicts: {', '.join(unpredicted[:_MAX_LISTED])}"
        problems.append(Problem(ensemble, mismatch, "a run for each fold", "pass the predictions of all runs"))
    if problems:
        raise PredictionError(problems)
    return folders_by_id


def _image_ids(folder: Path) -> frozenset[str]:
    """Return the identifiers of the images in a folder; none if the folder does not exist."""
    return frozenset(path.stem for path in visible_paths(folder, "*.png"))


def _mismatches(ids: frozenset[str], expected_ids: frozenset[str]) -> list[str]:
    """List the missing and the unexpected images."""
    if not expected_ids:
        return ["no images"]
    return [
        f"{label} {', '.join(sorted(differing)[:_MAX_LISTED])}{', ...' * (len(differing) > _MAX_LISTED)}"
        for label, differing in (("no image of", expected_ids - ids), ("unexpected images:", ids - expected_ids))
        if differing
    ]
