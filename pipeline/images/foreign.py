"""Refuse masks of other programs that are not stored as 0 and 255: their values would be read as probabilities."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from pipeline.core.errors import PipelineError, PredictionError, Problem, plural
from pipeline.core.manifest import find
from pipeline.images.png import read_grey, require_folder

_MASK_VALUES = 2  # a mask of two classes has no more values
_HALF = 127  # the highest level that is background at the threshold 0.5


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
        If the folder is a file; if all images together have two values, none above the threshold 0.5, such as 0 and 1
        or 0 and 100; or listing such images beside masks of 0 and 255. Folders without any foreground are valid.
    """
    require_folder(folder)
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
    small = [name for name in values if 0 < max(values[name]) <= _HALF]
    if small and len(union) == _MASK_VALUES + 1 and {0, 255} < union:
        (value,) = union - {0, 255}
        raise PredictionError([_problem(str(folder / f"{name}.png"), f"the values 0 and {value}") for name in small])
    if union == {1} or (len(union) == _MASK_VALUES and max(union) <= _HALF):
        found = f"the values {' and '.join(map(str, sorted(union)))} in {plural(len(values), 'image')}, as in masks"
        raise PredictionError(_problem(str(folder), found))


def _problem(where: str, found: str) -> Problem:
    expected = "levels: 0 to 255 for probabilities 0 to 1"
    return Problem(where, found, expected, "save as 0 and 255, for background and foreground")
