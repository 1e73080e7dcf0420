"""How much of each mask is foreground: measured once and kept in a file, so that listing a folder stays quick."""

import json
import os
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.counts import VOID
from pipeline.core.errors import OutputError, PipelineError, Problem, RawDataError
from pipeline.core.files import write_text
from pipeline.core.progress import say, track
from pipeline.raw.samples import Sample

STRATA = (0.0, 0.01, 0.03, 0.1, 0.3)
"""Upper limits of foreground shares, each included; a last stratum is above. They are fixed, so that the stratum of a
sample depends on its own mask alone."""

_FORMAT = 1


def stratum_of(share: float) -> int:
    """Return the stratum (0 to ``len(STRATA)``) of a foreground share; 0 is an empty mask."""
    return bisect_left(STRATA, share)


def foreground_share(mask: NDArray[np.uint8], soft: bool) -> float:
    """Return the foreground's share of the pixels of a mask that count.

    Parameters
    ----------
    mask : (H, W) array of uint8
        Class indices, `VOID` where pixels do not count: every class but 0 is foreground. Soft masks: 255 is
        probability 1, and the share is the mean.

    Returns
    -------
    float
        0 to 1; 0 where no pixel counts.
    """
    if soft:
        return float(mask.mean()) / 255
    counted = np.count_nonzero(mask != VOID)
    return (np.count_nonzero(mask) - (mask.size - counted)) / counted if counted else 0.0


def foreground_shares(
    samples: Sequence[Sample],
    read: Callable[[Sample], NDArray[np.uint8]],
    *,
    meaning: str,
    soft: bool,
    cache: Path | None,
    what: str,
) -> dict[str, float]:
    """Measure the masks of labelled samples, or take from `cache` what was measured before.

    A share is a function of the mask and its meaning alone, so it does not matter who measures it, or when. A mask
    file whose size or time of change differs from what the cache says is measured again. The cache may be deleted
    at any time; one that cannot be read or written is done without, and jobs that write it at the same time each put
    a whole one in place.

    Parameters
    ----------
    read : callable
        Gives a sample's mask as `foreground_share` takes it.
    meaning : str
        What mask values mean, as text: under another meaning nothing of the cache is used.
    soft : bool
        See `foreground_share`.
    cache : Path, optional
        JSON file. Shares of run-length coded masks are never kept: they are decoded faster than looked up.
    what : str
        The data set, for messages.

    Returns
    -------
    dict of str to float
        Identifier to share.

    Raises
    ------
    RawDataError
        Listing every mask that cannot be read.
    """
    known = {} if cache is None else _read(cache, meaning)
    states = {sample.id: _state(sample.mask) for sample in samples if sample.mask is not None}
    shares: dict[str, float] = {}
    missing = []
    for sample in samples:
        entry = known.get(sample.mask) if sample.mask is not None else None
        if entry is not None and entry[:2] == states[sample.id]:
            shares[sample.id] = entry[2]
        else:
            missing.append(sample)
    if not missing:
        return shares
    shares |= _measure(missing, read, soft, what)
    masks = {sample.mask: [*states[sample.id], shares[sample.id]] for sample in samples if sample.mask is not None}
    if cache is not None and any(sample.mask is not None for sample in missing):
        try:
            write_text(cache, json.dumps({"format": _FORMAT, "meaning": meaning, "masks": masks}))
        except OutputError as error:
            say(f"{what}: foreground shares are not kept, and will be measured again. {error}")
    return shares


def _measure(
    samples: Sequence[Sample], read: Callable[[Sample], NDArray[np.uint8]], soft: bool, what: str
) -> dict[str, float]:
    def attempt(sample: Sample) -> float | PipelineError:
        try:
            return foreground_share(read(sample), soft)
        except PipelineError as error:
            return error

    coded = [sample for sample in samples if sample.mask is None]
    files = [sample for sample in samples if sample.mask is not None]
    measured = list(map(attempt, coded))
    if files:
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            measured += track(pool.map(attempt, files), f"{what}: foreground shares of masks", len(files))
    shares: dict[str, float] = {}
    problems: list[Problem] = []
    for sample, share in zip([*coded, *files], measured, strict=True):
        if isinstance(share, PipelineError):
            problems += share.problems
        else:
            shares[sample.id] = share
    if problems:
        raise RawDataError(problems)
    return shares


def _state(path: str) -> list[int]:
    """Return size and time of change (ns), by which a changed file is told; of a file that is gone, nothing."""
    try:
        status = os.stat(path)  # noqa: PTH116 - ten times as fast as Path where there are 100,000 files
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]


def _read(cache: Path, meaning: str) -> Mapping[str, Any]:
    """Return what the cache knows; nothing where it is missing, damaged or of another meaning."""
    try:
        data = json.loads(cache.read_text(encoding="utf-8"))
        masks = data["masks"]
        usable = data["format"] == _FORMAT and data["meaning"] == meaning and all(map(_whole, masks.values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return dict(masks) if usable else {}


def _whole(entry: Any) -> bool:  # noqa: ANN401 - anything may stand in a damaged file
    return (
        isinstance(entry, list)
        and len(entry) == 3
        and type(entry[0]) is type(entry[1]) is int
        and isinstance(entry[2], int | float)
        and 0 <= entry[2] <= 1
    )
