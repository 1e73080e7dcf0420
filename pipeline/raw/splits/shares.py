"""How much of each mask is foreground: measured once and kept in a file, so that listing a folder stays quick."""

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
from pipeline.core.parallel import in_order
from pipeline.core.progress import log, progress_bar
from pipeline.raw.samples import Sample

STRATA = (0.0, 0.01, 0.03, 0.1, 0.3)
"""Upper limits of foreground shares, each included; a last stratum is above. They are fixed, so that the stratum of a
sample depends on its own mask alone."""

_FORMAT: Literal[2] = 2

_Entry = tuple[str, Annotated[float, Field(ge=0, le=1)]]
"""State of the files of a mask (see `pipeline.core.digests.file_state`), and its foreground share."""


class _Cache(Options):
    format: Literal[2]
    meaning: str
    masks: dict[str, _Entry]


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
    file that changed since is measured again (see `pipeline.core.digests.kept_digests`). The cache may be deleted
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
    files = {sample.id: _name(sample) for sample in samples if sample.mask is not None}
    states = {sample.id: repr([*map(file_state, sample.mask_files)]) for sample in samples}
    shares = {name: known[file][1] for name, file in files.items() if file in known and known[file][0] == states[name]}
    missing = [sample for sample in samples if sample.id not in shares]
    shares |= _measure(missing, read, soft, what)
    if cache is not None and any(sample.id in files for sample in missing):
        masks = {file: (states[name], shares[name]) for name, file in files.items()}
        try:
            write_text(cache, json.dumps({"format": _FORMAT, "meaning": meaning, "masks": masks}))
        except OutputError as error:
            log(f"{what}: foreground shares are not kept, and will be measured again. {error}")
    return shares


def _measure(
    samples: Sequence[Sample], read: Callable[[Sample], NDArray[np.uint8]], soft: bool, what: str
) -> dict[str, float]:
    problems: list[Problem] = []

    def attempt(sample: Sample) -> float:
        try:
            return foreground_share(read(sample), soft)
        except PipelineError as error:
            problems.extend(error.problems)
            return 0.0

    shares = {sample.id: attempt(sample) for sample in samples if sample.mask is None}
    if files := [sample for sample in samples if sample.mask is not None]:
        measured = in_order(attempt, files, os.cpu_count() or 1)
        title = f"{what}: foreground shares of masks"
        shares |= {
            sample.id: share for sample, share in zip(files, progress_bar(measured, title, len(files)), strict=True)
        }
    if problems:
        raise RawDataError(sorted(problems))
    return shares


def _name(sample: Sample) -> str:
    """Name the mask of a sample: its file, and the page where it is a stack."""
    return f"{sample.mask}" if sample.page is None else f"{sample.mask}, page {sample.page}"


def _read(cache: Path, meaning: str) -> dict[str, _Entry]:
    """Return what the cache knows; nothing where it is missing, damaged or of another meaning."""
    try:
        kept = _Cache.model_validate_json(cache.read_bytes())
    except (OSError, ValueError):
        return {}
    return kept.masks if kept.meaning == meaning else {}
