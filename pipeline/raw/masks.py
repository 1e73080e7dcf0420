"""What mask values mean: a declared map from grey values to classes, and run-length codes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Problem, RawDataError
from pipeline.raw.decode import read_grey

ClassMask = NDArray[np.uint8]

_UNDECLARED = 255  # no class has this index

BLACK_AND_WHITE: Mapping[int, int] = {0: 0, 255: 1}
"""Black is background, white is foreground; anything else is refused."""


def classify(plane: NDArray[np.uint8], meaning: Mapping[int, int], path: Path | str) -> ClassMask:
    """Replace grey values by the classes they were declared to mean.

    Parameters
    ----------
    plane : (H, W) array of uint8
    meaning : mapping of int to int
        Grey value 0..255 to class index (0..254). Values that do not stand here are refused, never rounded.
    path : Path or str
        For messages only.

    Returns
    -------
    (H, W) array of uint8

    Raises
    ------
    RawDataError
        Listing the values that were not declared, with their pixel counts.
    """
    table = np.full(256, _UNDECLARED, dtype=np.uint8)
    for value, label in meaning.items():
        table[value] = label
    classes: ClassMask = np.asarray(cv2.LUT(plane, table))
    if classes.max() == _UNDECLARED:
        counts = np.bincount(plane.ravel(), minlength=256)
        unknown = [value for value in np.flatnonzero(counts).tolist() if value not in meaning]
        listed = ", ".join(f"{value} ({counts[value]} pixels)" for value in unknown[:8])
        more = f" and {len(unknown) - 8} more values" if len(unknown) > 8 else ""
        raise RawDataError(
            Problem(
                str(path),
                f"mask values {listed}{more}",
                "only " + ", ".join(f"{value} (class {label})" for value, label in sorted(meaning.items())),
                "save the mask as two-valued 8-bit PNG or GIF: black background, white foreground, no smoothing",
            )
        )
    return classes


def read_mask(path: Path | str, meaning: Mapping[int, int], data: bytes | None = None) -> ClassMask:
    """Read a mask file as (H, W) class indices; see `classify`."""
    return classify(read_grey(path, data), meaning, path)


def decode_runs(codes: str, height: int, width: int, where: str) -> ClassMask:
    """Decode run-length codes.

    Parameters
    ----------
    codes : str
        Pairs of start and length, separated by blanks. Starts count from 1 down the columns (column-major).
        An empty text is an empty mask.
    height, width : int
        Size of the picture in pixels.
    where : str
        File and row, for messages only.

    Returns
    -------
    (height, width) array of uint8, values {0, 1}

    Raises
    ------
    RawDataError
        For numbers that are no numbers, an odd count, runs outside the picture, or runs that overlap.
    """

    def refuse(found: str) -> RawDataError:
        return RawDataError(
            Problem(
                where,
                found,
                f"pairs of start and length inside 1..{height * width}, in order and apart",
                "fetch the table again, or use the PNG masks (`masks: png`)",
            )
        )

    try:
        numbers = np.array([int(word) for word in codes.split()], dtype=np.int64)
    except ValueError as error:
        raise refuse(f"codes that are not whole numbers ({codes[:40]!r})") from error
    if len(numbers) % 2:
        raise refuse(f"{len(numbers)} numbers, an odd count")
    starts, lengths = numbers[0::2] - 1, numbers[1::2]
    ends = starts + lengths
    if len(starts) and (starts.min() < 0 or lengths.min() < 1 or ends.max() > height * width):
        raise refuse("runs that leave the picture")
    if (starts[1:] < ends[:-1]).any():
        raise refuse("runs that overlap or are out of order")
    # +1 at each start, -1 after each end: the running sum is the mask
    steps = np.zeros(height * width + 1, dtype=np.int8)
    steps[starts] += 1
    steps[ends] -= 1
    flat = np.cumsum(steps[:-1], dtype=np.int8).astype(np.uint8)
    return flat.reshape((height, width), order="F")


def encode_runs(mask: NDArray[Any]) -> str:
    """Encode a (H, W) mask of {0, 1} as run-length codes: the inverse of `decode_runs`."""
    flat = np.concatenate([[0], np.asarray(mask, dtype=np.int8).ravel(order="F"), [0]])
    changes = np.flatnonzero(np.diff(flat))
    starts, ends = changes[0::2], changes[1::2]
    return " ".join(f"{start + 1} {end - start}" for start, end in zip(starts, ends, strict=True))
