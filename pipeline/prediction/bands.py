"""Predictions as bands of rows, from top to bottom, so that memory need not hold a large image in float32."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.fine_levels import StoredLevels
from pipeline.images.png import PngWriter
from pipeline.shards.prepare import resize_image

Band = NDArray[np.float32]
"""(K, h, W): rows of the probabilities of the foreground, or of K classes."""

LARGE = 2**24
"""Images with more pixels are processed one after another and row by row, smaller ones several at a time."""

_BAND_PIXELS = 2**22


def native_bands(
    bands: Iterable[NDArray[Any]], size: tuple[int, int], native_size: tuple[int, int]
) -> Iterator[NDArray[Any]]:
    """Resize a prediction to the size of the raw image, as `resize_image` does.

    Parameters
    ----------
    bands : iterable of (K, h, W) array of float32
        Of any type if the sizes are equal.
    size, native_size : (int, int)
        Height and width of the prediction, and of the raw image.

    Yields
    ------
    (K, h, W) array of the same type
        At most about 4 million pixels.
    """
    height, width = native_size
    rows = max(1, _BAND_PIXELS // width)
    if size == native_size:
        for band in bands:
            yield from (band[:, top : top + rows] for top in range(0, band.shape[1], rows))
        return
    planes = np.concatenate(list(bands), axis=1)
    if rows >= height:  # one band; OpenCV is faster than `_grow`
        yield np.stack([resize_image(plane, height, width) for plane in planes])
        return
    planes = np.stack([resize_image(plane, min(size[0], height), min(size[1], width)) for plane in planes])
    for top in range(0, height, rows):
        yield np.stack([_grow(plane, range(top, min(top + rows, height)), height, width) for plane in planes])


def _grow(plane: Band, rows: range, height: int, width: int) -> Band:
    """Return rows of a plane (h, w) that is resized to (height, width) by linear interpolation, as OpenCV does."""
    last = len(plane) - 1
    positions = (np.arange(rows.start, rows.stop) + 0.5) * (len(plane) / height) - 0.5
    above = np.floor(positions).astype(np.int64)
    weights = (positions - above).astype(np.float32)[:, None]
    above, below = np.clip(above, 0, last), np.clip(above + 1, 0, last)
    source = plane[above[0] : below[-1] + 1]
    wide = resize_image(source, len(source), width, "linear")
    upper, lower = wide[above - above[0]], wide[below - above[0]]
    # in float64, because OpenCV rounds once
    return np.asarray((upper + (lower - upper).astype(np.float64) * weights).astype(np.float32))


def class_indices(probability: Band) -> NDArray[np.uint8]:
    """Return the index of the most probable of (K, H, W) classes as (H, W) uint8; the lowest index of equal ones."""
    return np.asarray(probability.argmax(axis=0).astype(np.uint8))


class ProbabilityWriter:
    """Writes levels: (1, h, W) to ``<name>.png``, or (K, h, W) to one ``<class>/<name>.png`` for each class.

    Parameters
    ----------
    files : ExitStack
        Closes the files.
    folder : Path
    name : str
    size : (int, int)
        Height and width.
    classes : sequence of str
    bits : {8, 16}
        Of the levels.
    """

    def __init__(
        self, files: ExitStack, folder: Path, name: str, size: tuple[int, int], classes: Sequence[str], bits: int = 8
    ) -> None:
        folders = [folder]
        if len(classes) > 2:
            folders = [folder / class_name.replace("/", "-") for class_name in classes]
        for class_folder in folders:
            class_folder.mkdir(exist_ok=True)
        self._writers = [files.enter_context(PngWriter(path / f"{name}.png", *size, 1, bits)) for path in folders]

    def write(self, levels: StoredLevels) -> None:
        """Append rows."""
        for writer, plane in zip(self._writers, levels, strict=True):
            writer.write(plane)
