"""Refuse masks of other programs that are not stored as 0 and 255: their values would be read as probabilities."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from pipeline.core.errors import PipelineError, PredictionError, Problem, plural
from pipeline.core.manifest import find
from pipeline.images.png import read_grey

_MASK_VALUES = 2  # a mask of two classes has no more values


def require_levels(folder: Path, ids: Iterable[str]) -> None:
    """Check that a folder of two-class predictions does not contain masks of other values than 0 and 255.

    Parameters
    ----------
    folder : Path
        Folder of ``<id>.png``. One that the pipeline wrote is not read: its networks may be this sure of background.
    ids : iterable of str
        Identifiers of the samples. Files that cannot be read are skipped; who scores them reports them.

    Raises
    ------
    PredictionError
        If all images together have at most two values, of which the higher is not 255, such as 0 and 1 or 1 and 2; or
        listing the images of 0 and 1 beside masks of 0 and 255. Folders without any foreground are valid.
    """
    if find(folder) is not None:
        return
    values: dict[str, set[int]] = {}
    for name in ids:
        try:
            values[name] = {*np.flatnonzero(np.bincount(read_grey(folder / f"{name}.png").ravel())).tolist()}
        except PipelineError:
            continue
        if len(values[name]) > _MASK_VALUES:
            return  # probabilities
    union = set[int]().union(*values.values())
    small = [name for name in values if max(values[name]) == 1]
    if small and union == {0, 1, 255}:
        raise PredictionError([_problem(str(folder / f"{name}.png"), "the values 0 and 1") for name in small])
    if len(union) <= _MASK_VALUES and union not in ({0}, {255}, {0, 255}) and (len(union) > 1 or union == {1}):
        found = f"the values {' and '.join(map(str, sorted(union)))} in {plural(len(values), 'image')}, as in masks"
        raise PredictionError(_problem(str(folder), found))


def _problem(where: str, found: str) -> Problem:
    expected = "levels: 0 to 255 for probabilities 0 to 1"
    return Problem(where, found, expected, "save as 0 and 255, for background and foreground")
