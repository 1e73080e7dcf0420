"""Write one HDF5 shard: streaming, checksummed, the same bytes in every run."""

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from pipeline.core.counts import VOID
from pipeline.core.errors import PipelineError, Problem, RawDataError
from pipeline.core.files import atomic_file
from pipeline.core.parallel import in_order
from pipeline.core.progress import log, progress_bar
from pipeline.raw.dataset import RawDataset, open_dataset
from pipeline.raw.digests import joint_digest
from pipeline.raw.samples import Sample
from pipeline.shards.prepare import Prepared, prepare
from pipeline.shards.recipes import Preparation, ShardRecipe
from pipeline.shards.schema import SCHEMA_VERSION

BLOCK_BYTES = 2 * 2**20
"""Samples are written in blocks of about this many bytes: a call into HDF5 costs as much as a small image."""


def build_shard(
    recipe: ShardRecipe,
    *,
    number: int,
    output: Path,
    threads: int = 1,
    raw_digest: str | None = None,
) -> None:
    """Build one shard of a data set from its raw files.

    Parameters
    ----------
    number : int
        Of the shard.
    output : Path
        The HDF5 file to write.
    threads : int
        Images decoded at a time; it changes the speed, not the file.
    raw_digest : str, optional
        What `pipeline.raw.digests.joint_digest` gave for its samples when the shard was asked for. Pages of stacks are
        not compared with it: whole files are digested there, and single pages are read here.

    Raises
    ------
    RawDataError
        Listing every file of the shard that cannot be used, or if one changed since; then no shard is written.
    OutputError
        If the file cannot be written.
    """
    raw = open_dataset(recipe.dataset, recipe.source)
    members = raw.shard_members(recipe.split).get(number)
    if not members:
        raise RawDataError(
            f"data set {raw.name!r}",
            f"no sample for shard {number} of split {recipe.split!r}",
            f"one of the shards {sorted(raw.shard_members(recipe.split))}",
            "run snakemake again: the raw files changed since it looked",
        )
    prepared = progress_bar(
        _prepare_all(raw, members, threads, recipe), f"{raw.name} {recipe.split}-{number}: samples", len(members)
    )
    with atomic_file(output) as temporary, _PatientFile(temporary, "w+") as target:
        with h5py.File(target, "w", libver="latest") as file:
            digests = _stream(file, prepared, len(members), target)
            if raw_digest not in (None, joint_digest(members, digests)) and all(one.page is None for one in members):
                raise _changed(raw)
            _write_metadata(file, members)
            _describe(file, raw, number, recipe, digests)
        target.check()
    log(f"{output}: {len(members)} samples, {output.stat().st_size / 1e6:.1f} MB")


def _changed(raw: RawDataset) -> RawDataError:
    found, expected = "raw files that changed while a shard was made of them", "the files that Snakemake found"
    return RawDataError(f"data set {raw.name!r}", found, expected, "run snakemake again")


class _PatientFile(io.FileIO):
    """A file whose failed writes wait in `failure` until they are asked for.

    HDF5 keeps what it could not write, tries again on closing, and crashes the interpreter where that fails too (a
    full disk). So it is told that all went well, and `check` raises the error where it can be handled.
    """

    failure: OSError | None = None

    def write(self, data: Any, /) -> int:  # noqa: ANN401 - any buffer
        """Write all of `data`, or remember why not."""
        rest = memoryview(data).cast("B")
        total = len(rest)
        try:
            while rest and self.failure is None:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.failure = error
        return total

    def truncate(self, size: int | None = None, /) -> int:
        """Set the size of the file, or remember why not."""
        try:
            return super().truncate(size)
        except OSError as error:
            self.failure = self.failure or error
            return size or 0

    def check(self) -> None:
        """Raise what went wrong, if anything did."""
        if self.failure is not None:
            raise self.failure


def _stream(
    file: h5py.File, prepared: Iterable[Prepared | PipelineError], count: int, target: _PatientFile
) -> list[str]:
    """Write sample after sample; go on after a bad one, so that all of them are reported. Return their digests.

    Only a few megabytes of samples, and a few bytes for each, are in memory at a time.
    """
    problems: list[Problem] = []
    sizes: dict[tuple[int, ...], list[str]] = {}
    digests: list[str] = []
    small: dict[str, list[Any]] = {"scale": [], "offset": [], "original_size": []}
    block: list[Prepared] = []
    written = 0
    for item in prepared:
        if isinstance(item, PipelineError):
            problems += item.problems
            continue
        sizes.setdefault(item.stored.shape, []).append(item.sample.image)
        if problems or len(sizes) > 1:
            continue  # nothing will be kept: only look for what else is wrong
        if not digests:
            _create(file, count, item)
        for name, values in small.items():
            values.append(getattr(item, name))
        digests.append(item.digest)
        block.append(item)
        if len(block) * item.stored.nbytes >= BLOCK_BYTES or len(digests) == count:
            _write_block(file, written, block)
            target.check()
            written += len(block)
            block.clear()
    problems += _unequal_sizes(sizes)
    if problems:
        raise RawDataError(dict.fromkeys(problems))  # the pages of a stack complain in the same words
    for name, values in small.items():
        _column(file, name, np.array(values, dtype=np.int32 if name == "original_size" else np.float32))
    return digests


def _prepare_all(
    raw: RawDataset, members: Sequence[Sample], threads: int, how: Preparation
) -> Iterator[Prepared | PipelineError]:
    """Yield each sample prepared, or what is wrong with it, in order."""

    def attempt(sample: Sample) -> Prepared | PipelineError:
        try:
            return prepare(raw, sample, how)
        except PipelineError as error:
            return error

    return in_order(attempt, members, threads)


def _unequal_sizes(sizes: Mapping[tuple[int, ...], Sequence[str]]) -> list[Problem]:
    if len(sizes) < 2:
        return []
    return [
        Problem(
            paths[0] + (f" and {len(paths) - 1} more" if len(paths) > 1 else ""),
            f"{shape[2]}x{shape[1]} pixels",
            "one size for all images, because of `size: native`",
            "give the data set a `size: [height, width]`",
        )
        for shape, paths in sorted(sizes.items())
    ]


def _planes(item: Prepared) -> dict[str, NDArray[Any]]:
    """Return what a sample has of ``images`` (C, H, W), ``masks`` and ``fov`` (1, H, W)."""
    planes = {"masks": item.mask, "fov": item.fov}
    return {"images": item.stored} | {name: plane[None] for name, plane in planes.items() if plane is not None}


def _create(file: h5py.File, count: int, first: Prepared) -> None:
    for name, plane in _planes(first).items():
        # two-valued planes shrink fifty-fold at the fastest level
        options = {} if name == "images" else {"compression": "gzip", "compression_opts": 1}
        shape = {"shape": (count, *plane.shape), "chunks": (1, *plane.shape)}
        file.create_dataset(name, dtype=plane.dtype, fletcher32=True, **shape, **options)


def _column(file: h5py.File, name: str, values: NDArray[Any]) -> None:
    file.create_dataset(name, data=values, chunks=values.shape, fletcher32=True)


def _write_block(file: h5py.File, start: int, block: Sequence[Prepared]) -> None:
    planes = [_planes(item) for item in block]
    for name in ("images", "masks", "fov"):
        if name in file:
            file[name][start : start + len(block)] = np.stack([plane[name] for plane in planes])


def _write_metadata(file: h5py.File, members: Sequence[Sample]) -> None:
    names = [sample.id.encode("utf-8", "surrogateescape") for sample in members]
    _column(file, "ids", np.array(names, dtype=h5py.string_dtype("utf-8", max(map(len, names)))))
    for key in sorted({key for sample in members for key in sample.metadata}):
        _column(file, f"metadata/{key}", np.array([sample.metadata.get(key, np.nan) for sample in members]))


def _describe(file: h5py.File, raw: RawDataset, shard: int, recipe: ShardRecipe, digests: Sequence[str]) -> None:
    """Write the attributes that let the file speak for itself."""
    _column(file, "source_sha256", np.array(digests, dtype="S64"))
    attributes = {
        "schema_version": SCHEMA_VERSION,
        "dataset": raw.name,
        "layout": raw.layout,
        "origin": raw.origin,
        "split": recipe.split,
        "shard": shard,
        "size": file["images"].shape[2:],
        "channels": recipe.channels,
        "native": recipe.size == "native",
        "interpolation_image": recipe.interpolation,
        "interpolation_mask": recipe.interpolation if raw.mask_kind == "soft" else "nearest",
        "normalization": json.dumps(recipe.normalize.plain(), sort_keys=True),
        "reading_rule": "image = images * scale + offset, scale and offset for each sample and channel",
        "class_names": json.dumps(raw.classes),
        "mask_kind": raw.mask_kind,
        "sources_sha256": hashlib.sha256("".join(digests).encode()).hexdigest(),
    }
    if raw.mask_kind == "index":
        attributes["ignore_value"] = VOID
    for key, value in attributes.items():
        file.attrs[key] = value
