"""Run-length encoding (RLE) of masks, and merging of masks of single objects."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.counts import VOID
from pipeline.core.errors import Problem, RawDataError

ClassMask = NDArray[np.uint8]


def decode_rle(codes: str, height: int, width: int, location: str) -> ClassMask:
    """Decode a run-length encoded (RLE) mask.

    Parameters
    ----------
    codes : str
        Pairs of start and length, separated by spaces. Pixels are numbered from 1 down the columns (column-major).
        An empty string is an empty mask.
    height, width : int
        Size of the image in pixels.
    location : str
        File and row, for messages only.

    Returns
    -------
    (height, width) array of uint8, values {0, 1}

    Raises
    ------
    RawDataError
        If the codes are not pairs of integers, or runs overlap, are out of order or extend past the image.
    """

    def refuse(actual: str) -> RawDataError:
        return RawDataError(
            location,
            actual,
            f"pairs of start and length within 1..{height * width}, in ascending order, without overlaps",
            "download the table again, or use the PNG masks (`masks: png`)",
        )

    try:
        numbers = np.array([int(text) for text in codes.split()], dtype=np.int64)
    except ValueError as error:
        raise refuse(f"codes that are not whole numbers ({codes[:40]!r})") from error
    if len(numbers) % 2:
        raise refuse(f"{len(numbers)} numbers, an odd count")
    starts, lengths = numbers[0::2] - 1, numbers[1::2]
    ends = starts + lengths
    if len(starts) and (starts.min() < 0 or lengths.min() < 1 or ends.max() > height * width):
        raise refuse("runs that extend past the image")
    if (starts[1:] < ends[:-1]).any():
        raise refuse("runs that overlap or are out of order")
    # +1 at each start, -1 after each end: the running sum is the mask
    steps = np.zeros(height * width + 1, dtype=np.int8)
    steps[starts] += 1
    steps[ends] -= 1
    flat = np.cumsum(steps[:-1], dtype=np.int8).astype(np.uint8)
    return flat.reshape((height, width), order="F")


def merge_object_masks(masks: Sequence[ClassMask], paths: Sequence[str]) -> ClassMask:
    """Merge masks of single objects into one foreground mask.

    Parameters
    ----------
    masks : sequence of (H, W) arrays of {0, 1, VOID}
        Foreground takes precedence over ignored pixels (`VOID`), and these over background.
    paths : sequence of str
        Paths of the masks, for messages.

    Raises
    ------
    RawDataError
        If masks differ in size from the first; lists all of them.
    """
    size = masks[0].shape
    problems = [
        Problem(
            path,
            f"{mask.shape[1]}x{mask.shape[0]} pixels, while {paths[0]} has {size[1]}x{size[0]}",
            "masks of the same size",
            "export it again, or leave the sample out (`exclude`)",
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


def encode_rle(mask: NDArray[Any]) -> str:
    """Encode a (H, W) mask of {0, 1} by run lengths (RLE): the inverse of `decode_rle`."""
    flat = np.concatenate([[0], np.asarray(mask, dtype=np.int8).ravel(order="F"), [0]])
    changes = np.flatnonzero(np.diff(flat))
    starts, ends = changes[0::2], changes[1::2]
    return " ".join(f"{start + 1} {end - start}" for start, end in zip(starts, ends, strict=True))
