"""Refuse predictions of other programs whose values would be read as other probabilities than they are.

Masks that are not stored as 0 and 255, and 8-bit values that are stored with 16 bits.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from pipeline.core.errors import PipelineError, PredictionError, Problem, plural
from pipeline.core.fine_levels import as_levels
from pipeline.core.manifest import find
from pipeline.images.png import read_stored_levels, require_folder

_MASK_VALUES = 2  # a mask of two classes has no more values
_HALF = 127  # the highest level that is background at the threshold 0.5


def require_levels(folder: Path, ids: Iterable[str]) -> None:
    """Refuse two-class predictions that are masks of other values than 0 and 255, or 8-bit values stored with 16 bits.

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
        or 0 and 100; or listing such images beside masks of 0 and 255; or if no value of 16-bit images is above 255.
        Folders without any foreground are valid.
    """
    require_folder(folder)
    if find(folder) is not None:
        return
    values: dict[str, set[int]] = {}
    highest_of_16_bits = 0
    for name in ids:
        try:
            stored = read_stored_levels(folder / f"{name}.png")
        except PipelineError:
            continue
        if stored.dtype == np.uint16:
            highest_of_16_bits = max(highest_of_16_bits, int(stored.max(initial=0)))
        values[name] = {*np.flatnonzero(np.bincount(as_levels(stored).ravel())).tolist()}
        if len(values[name]) > _MASK_VALUES:
            return  # probabilities
    if 0 < highest_of_16_bits <= 255:
        found = f"16-bit values of at most {highest_of_16_bits}"
        expected = "levels: 0 to 65535 with 16 bits, 0 to 255 with 8 bits, for probabilities 0 to 1"
        raise PredictionError(str(folder), found, expected, "save these values with 8 bits, or multiply them by 257")
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
