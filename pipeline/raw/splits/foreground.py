"""Foreground fraction of each mask, cached in a file to keep listing fast."""

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
"""Largest foreground fraction of each stratum but the last, which has no limit. The limits are fixed, so that the
stratum of a sample depends only on its own mask."""

_FORMAT: Literal[2] = 2

_Entry = tuple[str, Annotated[float, Field(ge=0, le=1)]]
"""State of the files of a mask (see `pipeline.core.digests.file_state`), and its foreground fraction."""


class _Cache(Options):
    format: Literal[2]
    meaning: str
    masks: dict[str, _Entry]


def stratum_of(fraction: float) -> int:
    """Return the stratum (0 to ``len(STRATA)``) of a foreground fraction; stratum 0 contains the empty masks."""
    return bisect_left(STRATA, fraction)


def foreground_fraction(mask: NDArray[np.uint8], soft: bool) -> float:
    """Return the fraction of foreground pixels in a mask, without ignored pixels.

    Parameters
    ----------
    mask : (H, W) array of uint8
        Class indices, `VOID` for ignored pixels: every class but 0 is foreground. Soft masks: 255 is probability 1, and
        the fraction is the mean.

    Returns
    -------
    float
        0 to 1; 0 if all pixels are ignored.
    """
    if soft:
        return float(mask.mean()) / 255
    valid_pixels = np.count_nonzero(mask != VOID)
    return (np.count_nonzero(mask) - (mask.size - valid_pixels)) / valid_pixels if valid_pixels else 0.0


def foreground_fractions(
    samples: Sequence[Sample],
    read: Callable[[Sample], NDArray[np.uint8]],
    *,
    meaning: str,
    soft: bool,
    cache: Path | None,
    dataset: str,
) -> dict[str, float]:
    """Return the foreground fractions of labelled samples, measured or from `cache`.

    A fraction depends only on the mask and its meaning, so any job may measure it. A changed mask file is measured
    again (see `pipeline.core.digests.cached_digests`). The cache may be deleted at any time, and is ignored
    if it cannot be read or written. Jobs that write it at the same time each replace the whole file.

    Parameters
    ----------
    read : callable
        Returns the mask of a sample in the form of `foreground_fraction`.
    meaning : str
        Meaning of mask values, as text; a cache with another meaning is not used.
    soft : bool
        See `foreground_fraction`.
    cache : Path, optional
        JSON file. Fractions of run-length encoded masks are not cached, because decoding is faster than a lookup.
    dataset : str
        Name of the data set, for messages.

    Returns
    -------
    dict of str to float
        Identifier to fraction.

    Raises
    ------
    RawDataError
        Listing every mask that cannot be read.
    """
    cached = {} if cache is None else _read_cache(cache, meaning)
    files = {sample.id: _mask_key(sample) for sample in samples if sample.mask is not None}
    states = {sample.id: repr([*map(file_state, sample.mask_files)]) for sample in samples}
    fractions = {
        name: cached[file][1] for name, file in files.items() if file in cached and cached[file][0] == states[name]
    }
    missing = [sample for sample in samples if sample.id not in fractions]
    fractions |= _measure_fractions(missing, read, soft, dataset)
    if cache is not None and any(sample.id in files for sample in missing):
        masks = {file: (states[name], fractions[name]) for name, file in files.items()}
        try:
            write_text(cache, json.dumps({"format": _FORMAT, "meaning": meaning, "masks": masks}))
        except OutputError as error:
            log(f"{dataset}: foreground fractions cannot be cached and will be measured again. {error}")
    return fractions


def _measure_fractions(
    samples: Sequence[Sample], read: Callable[[Sample], NDArray[np.uint8]], soft: bool, dataset: str
) -> dict[str, float]:
    """Measure the foreground fraction of each mask; raise RawDataError with the problems of all unreadable masks."""
    problems: list[Problem] = []

    def attempt(sample: Sample) -> float:
        try:
            return foreground_fraction(read(sample), soft)
        except PipelineError as error:
            problems.extend(error.problems)
            return 0.0

    # a labelled sample without a mask file has a run-length encoded mask, which is decoded without reading a file
    fractions = {sample.id: attempt(sample) for sample in samples if sample.mask is None}
    if with_mask_files := [sample for sample in samples if sample.mask is not None]:
        measured = thread_map(attempt, with_mask_files, os.cpu_count() or 1)
        measured = progress_bar(measured, f"{dataset}: foreground fractions of masks", len(with_mask_files))
        fractions |= {sample.id: fraction for sample, fraction in zip(with_mask_files, measured, strict=True)}
    if problems:
        raise RawDataError(sorted(problems))
    return fractions


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
