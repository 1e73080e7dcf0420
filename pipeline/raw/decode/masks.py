"""Masks of class indices, and masks as run-length codes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.counts import VOID
from pipeline.core.errors import Problem, RawDataError

ClassMask = NDArray[np.uint8]


def decode_runs(codes: str, height: int, width: int, where: str) -> ClassMask:
    """Decode run-length codes.

    Parameters
    ----------
    codes : str
        Pairs of start and length, separated by blanks. Starts count from 1 down the columns (column-major).
        An empty text is an empty mask.
    height, width : int
        Size of the image in pixels.
    where : str
        File and row, for messages only.

    Returns
    -------
    (height, width) array of uint8, values {0, 1}

    Raises
    ------
    RawDataError
        For numbers that are no numbers, an odd count, runs outside the image, or runs that overlap.
    """

    def refuse(found: str) -> RawDataError:
        return RawDataError(
            where,
            found,
            f"pairs of start and length inside 1..{height * width}, in order and apart",
            "fetch the table again, or use the PNG masks (`masks: png`)",
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
        raise refuse("runs that leave the image")
    if (starts[1:] < ends[:-1]).any():
        raise refuse("runs that overlap or are out of order")
    # +1 at each start, -1 after each end: the running sum is the mask
    steps = np.zeros(height * width + 1, dtype=np.int8)
    steps[starts] += 1
    steps[ends] -= 1
    flat = np.cumsum(steps[:-1], dtype=np.int8).astype(np.uint8)
    return flat.reshape((height, width), order="F")


def merge(masks: Sequence[ClassMask], paths: Sequence[str]) -> ClassMask:
    """Join masks of single objects; those that touch become one.

    Parameters
    ----------
    masks : sequence of (H, W) arrays of {0, 1, VOID}
        Foreground wins over void, void over background.
    paths : sequence of str
        Their files, for messages.

    Raises
    ------
    RawDataError
        Listing every mask that differs in size from the first.
    """
    size = masks[0].shape
    problems = [
        Problem(
            path,
            f"{mask.shape[1]}x{mask.shape[0]} pixels, while {paths[0]} has {size[1]}x{size[0]}",
            "masks of one size to merge",
            "export it again, or remove it",
        )
        for mask, path in zip(masks, paths, strict=True)
        if mask.shape != size
    ]
    if problems:
        raise RawDataError(problems)
    merged = masks[0].copy()
    for mask in masks[1:]:
        merged[(mask == VOID) & (merged == 0)] = VOID
        merged[mask == 1] = 1
    return merged


def encode_runs(mask: NDArray[Any]) -> str:
    """Encode a (H, W) mask of {0, 1} as run-length codes: the inverse of `decode_runs`."""
    flat = np.concatenate([[0], np.asarray(mask, dtype=np.int8).ravel(order="F"), [0]])
    changes = np.flatnonzero(np.diff(flat))
    starts, ends = changes[0::2], changes[1::2]
    return " ".join(f"{start + 1} {end - start}" for start, end in zip(starts, ends, strict=True))
