"""Refuse predictions of other programs that are stored as 0 and 1: 1 would be read as a probability of 1/255."""

from collections.abc import Iterable
from pathlib import Path

from pipeline.core.errors import PipelineError, PredictionError
from pipeline.core.manifest import find
from pipeline.images.png import read_grey


def require_levels(folder: Path, ids: Iterable[str]) -> None:
    """Check that the highest level of a folder of two-class predictions is not 1.

    Parameters
    ----------
    folder : Path
        Folder of ``<id>.png``. One that the pipeline wrote is not read: its networks may be this sure of background.
    ids : iterable of str
        Identifiers of the samples. Files that cannot be read are skipped; who scores them reports them.

    Raises
    ------
    PredictionError
        If no pixel of any image is above 1 and some are 1. Folders without any foreground are valid.
    """
    if find(folder) is not None:
        return
    highest = images = 0
    for name in ids:
        try:
            highest = max(highest, int(read_grey(folder / f"{name}.png").max(initial=0)))
        except PipelineError:
            continue
        if highest > 1:
            return
        images += 1
    if highest == 1:
        raise PredictionError(
            str(folder),
            f"no value above 1 in {images} image{'s' if images > 1 else ''}, as in masks of 0 and 1",
            "levels: 0 to 255 for probabilities 0 to 1",
            "save as 0 and 255: multiply the pixels by 255",
        )
