"""Foreground share of each mask, cached in a file to keep listing fast."""

import json
import os
from bisect import bisect_left
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.core.counts import VOID
from pipeline.core.digests import file_state
from pipeline.core.errors import OutputError, PipelineError, Problem, RawDataError
from pipeline.core.files import write_text
from pipeline.core.options import Options
from pipeline.core.parallel import thread_map
from pipeline.core.progress import log, progress_bar
from pipeline.raw.samples import Sample

STRATA = (0.0, 0.01, 0.03, 0.1, 0.3)
"""Upper limits of the foreground shares of strata, inclusive; one more stratum is above. They are fixed, so that the
stratum of a sample depends on its own mask alone."""

_FORMAT: Literal[2] = 2

_Entry = tuple[str, Annotated[float, Field(ge=0, le=1)]]
"""State of the files of a mask (see `pipeline.core.digests.file_state`), and its foreground share."""


class _Cache(Options):
    format: Literal[2]
    meaning: str
    masks: dict[str, _Entry]


def stratum_of(share: float) -> int:
    """Return the stratum (0 to ``len(STRATA)``) of a foreground share; 0 is that of empty masks."""
    return bisect_left(STRATA, share)


def foreground_share(mask: NDArray[np.uint8], soft: bool) -> float:
    """Return the share of foreground among the pixels of a mask that count.

    Parameters
    ----------
    mask : (H, W) array of uint8
        Class indices, `VOID` where pixels do not count: every class but 0 is foreground. Soft masks: 255 is
        probability 1, and the share is the mean.

    Returns
    -------
    float
        0 to 1; 0 if no pixel counts.
    """
    if soft:
        return float(mask.mean()) / 255
    valid_pixels = np.count_nonzero(mask != VOID)
    return (np.count_nonzero(mask) - (mask.size - valid_pixels)) / valid_pixels if valid_pixels else 0.0


def foreground_shares(
    samples: Sequence[Sample],
    read: Callable[[Sample], NDArray[np.uint8]],
    *,
    meaning: str,
    soft: bool,
    cache: Path | None,
    dataset: str,
) -> dict[str, float]:
    """Return the foreground shares of labelled samples, measured or from `cache`.

    A share is a function of the mask and its meaning alone, so any job may measure it. A changed mask file is measured
    again (see `pipeline.core.digests.cached_digests`). The cache may be deleted
    at any time; an unreadable or unwritable one is ignored, and jobs that write it at the same time each replace it
    as a whole.

    Parameters
    ----------
    read : callable
        Returns the mask of a sample, as `foreground_share` takes it.
    meaning : str
        Meaning of mask values, as text; a cache with another meaning is not used.
    soft : bool
        See `foreground_share`.
    cache : Path, optional
        JSON file. Shares of run-length encoded masks are not cached, because decoding is faster than looking them up.
    dataset : str
        Name of the data set, for messages.

    Returns
    -------
    dict of str to float
        Identifier to share.

    Raises
    ------
    RawDataError
        Listing every mask that cannot be read.
    """
    cached = {} if cache is None else _read_cache(cache, meaning)
    files = {sample.id: _mask_key(sample) for sample in samples if sample.mask is not None}
    states = {sample.id: repr([*map(file_state, sample.mask_files)]) for sample in samples}
    shares = {
        name: cached[file][1] for name, file in files.items() if file in cached and cached[file][0] == states[name]
    }
    missing = [sample for sample in samples if sample.id not in shares]
    shares |= _measure_shares(missing, read, soft, dataset)
    if cache is not None and any(sample.id in files for sample in missing):
        masks = {file: (states[name], shares[name]) for name, file in files.items()}
        try:
            write_text(cache, json.dumps({"format": _FORMAT, "meaning": meaning, "masks": masks}))
        except OutputError as error:
            log(f"{dataset}: foreground shares cannot be cached and will be measured again. {error}")
    return shares


def _measure_shares(
    samples: Sequence[Sample], read: Callable[[Sample], NDArray[np.uint8]], soft: bool, dataset: str
) -> dict[str, float]:
    problems: list[Problem] = []

    def attempt(sample: Sample) -> float:
        try:
            return foreground_share(read(sample), soft)
        except PipelineError as error:
            problems.extend(error.problems)
            return 0.0

    shares = {sample.id: attempt(sample) for sample in samples if sample.mask is None}
    if with_files := [sample for sample in samples if sample.mask is not None]:
        measured = thread_map(attempt, with_files, os.cpu_count() or 1)
        bar = progress_bar(measured, f"{dataset}: foreground shares of masks", len(with_files))
        shares |= {sample.id: share for sample, share in zip(with_files, bar, strict=True)}
    if problems:
        raise RawDataError(sorted(problems))
    return shares


def _mask_key(sample: Sample) -> str:
    """Return the cache key of a mask: its file, and the page if it is a stack."""
    return f"{sample.mask}" if sample.page is None else f"{sample.mask}, page {sample.page}"


def _read_cache(path: Path, meaning: str) -> dict[str, _Entry]:
    """Return the cached entries; none if the cache is missing, damaged or of another meaning."""
    try:
        cache = _Cache.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return cache.masks if cache.meaning == meaning else {}
