"""Write one HDF5 shard: streaming, with checksums, reproducible byte for byte."""

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from pipeline.core.allocator import keep_freed_memory
from pipeline.core.counts import VOID
from pipeline.core.errors import PipelineError, Problem, RawDataError, plural
from pipeline.core.files import atomic_file
from pipeline.core.parallel import thread_map
from pipeline.core.progress import log, progress_bar
from pipeline.raw.dataset import RawDataset, open_dataset
from pipeline.raw.digests import joint_digest
from pipeline.raw.inspect import orientation_warning, unequal_sizes
from pipeline.raw.samples import Sample
from pipeline.raw.value_range import ImageValues, merge_values, narrow_range_warning
from pipeline.shards.integrity import HEADER_BYTES, seal
from pipeline.shards.prepare import PreparedSample, prepare
from pipeline.shards.recipes import Preparation, ShardRecipe
from pipeline.shards.schema import SCHEMA_VERSION

BLOCK_BYTES = 2 * 2**20
"""Approximate size of the blocks in which samples are written: a call of HDF5 costs as much as a small image."""


class _Written(NamedTuple):
    """What is kept of a sample after it is written; see `PreparedSample`."""

    image: str
    digest: str
    values: ImageValues
    narrow: str | None
    orientations: str | None


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
        Number of the shard.
    output : Path
        HDF5 file to write.
    threads : int
        Number of images decoded in parallel; changes the speed, not the file.
    raw_digest : str, optional
        Result of `pipeline.raw.digests.joint_digest` for the samples when the shard was planned; raw files that changed
        since are an error. Pages of stacks are not compared: the plan hashes whole files, this function single pages.

    Raises
    ------
    RawDataError
        Lists each invalid raw file of the shard. Also raised if a raw file changed. No shard is written.
    OutputError
        If the file cannot be written.
    """
    keep_freed_memory()
    dataset = open_dataset(recipe.dataset, recipe.source)
    shards = dataset.shard_members(recipe.split)
    members = shards.get(number)
    if not members:
        raise RawDataError(
            f"data set {dataset.name!r}",
            f"no samples in shard {number} of split {recipe.split!r}",
            f"a shard number of this split: {', '.join(map(str, shards)) or 'none'}",
            "run snakemake again: the raw files have changed",
        )
    try:
        written, dtype = _write_shard(dataset, members, recipe, number, output, threads, raw_digest)
    except _MixedTypesError:
        recipe = recipe.changed(storage="float32")
        written, dtype = _write_shard(dataset, members, recipe, number, output, threads, raw_digest)
    narrow = {sample.image: sample.narrow for sample in written if sample.narrow is not None}
    if texts := narrow_range_warning(narrow, len(members), recipe.normalize.method):
        found, _, remedy = texts
        log(f"{output}: {found}; {remedy}")
    if texts := orientation_warning([item.orientations for item in written if item.orientations], len(members)):
        found, _, remedy = texts
        log(f"{output}: {found}; {remedy}")
    log(f"{output}: {plural(len(members), 'sample')} as {dtype}, {output.stat().st_size / 1e6:.1f} MB")


class _MixedTypesError(Exception):
    """Images of a shard with `storage: auto` need different types."""


def _write_shard(
    dataset: RawDataset,
    members: Sequence[Sample],
    recipe: ShardRecipe,
    number: int,
    output: Path,
    threads: int,
    raw_digest: str | None,
) -> tuple[list[_Written], str]:
    """Write a shard atomically; return what describes its samples, and the type in which images are stored."""
    prepared = progress_bar(
        _prepare_all(dataset, members, threads, recipe),
        f"{dataset.name} {recipe.split}-{number}: samples",
        len(members),
    )
    with atomic_file(output) as temporary, _DeferredErrorFile(temporary, "w+") as target:
        with h5py.File(target, "w", libver="latest", userblock_size=HEADER_BYTES) as file:
            written = _write_samples(file, prepared, len(members), target)
            digests = [sample.digest for sample in written]
            if raw_digest not in (None, joint_digest(members, digests)) and all(
                sample.page is None for sample in members
            ):
                raise _changed_files(dataset)
            _write_metadata(file, members)
            _write_attributes(file, dataset, number, recipe, written)
            dtype = str(file["images"].dtype)
        seal(target)
        target.raise_failure()
    return written, dtype


def _changed_files(dataset: RawDataset) -> RawDataError:
    actual, expected = "raw files that changed after the shard was planned", "unchanged raw files"
    return RawDataError(f"data set {dataset.name!r}", actual, expected, "run snakemake again")


class _DeferredErrorFile(io.FileIO):
    """A file that stores write errors in `failure` until `raise_failure` is called.

    HDF5 retries failed writes when it closes the file, and crashes the interpreter if they fail again (a full disk).
    Therefore writes always report success, and `raise_failure` raises the error outside of HDF5.
    """

    failure: OSError | None = None

    def write(self, data: Any, /) -> int:  # noqa: ANN401 - any buffer
        """Write all of `data`, or store the error."""
        remaining = memoryview(data).cast("B")
        total = len(remaining)
        try:
            while remaining and self.failure is None:
                remaining = remaining[super().write(remaining) :]
        except OSError as error:
            self.failure = error
        return total

    def truncate(self, size: int | None = None, /) -> int:
        """Set the size of the file, or store the error."""
        try:
            return super().truncate(size)
        except OSError as error:
            self.failure = self.failure or error
            return size or 0

    def raise_failure(self) -> None:
        """Raise the stored error, if there is one."""
        if self.failure is not None:
            raise self.failure


def _write_samples(
    file: h5py.File, prepared: Iterable[PreparedSample | PipelineError], count: int, target: _DeferredErrorFile
) -> list[_Written]:
    """Write all samples and return what describes them. Continue after an error, to report all errors.

    At most a few megabytes of samples, and a few bytes for each sample, are in memory at a time.
    """
    problems: list[Problem] = []
    sizes: dict[tuple[int, int], list[str]] = {}
    written: list[_Written] = []
    columns: dict[str, list[Any]] = {"scale": [], "offset": [], "original_size": []}
    block: _Block | None = None
    for item in prepared:
        if isinstance(item, PipelineError):
            problems += item.problems
            continue
        sizes.setdefault((item.stored.shape[1], item.stored.shape[2]), []).append(item.sample.image)
        if problems or len(sizes) > 1:
            continue  # no shard will be written: only collect more problems
        block = block or _Block(file, count, item)
        if item.stored.dtype != block.dtype:
            raise _MixedTypesError
        for name, values in columns.items():
            values.append(getattr(item, name))
        written.append(_Written(item.sample.image, item.digest, item.values, item.narrow, item.orientations))
        if block.add(item) or len(written) == count:
            block.write()
            target.raise_failure()
    problems += unequal_sizes(sizes)
    if problems:
        raise RawDataError(dict.fromkeys(problems))  # pages of a stack have identical problems
    for name, values in columns.items():
        _write_column(file, name, np.array(values, dtype=np.int32 if name == "original_size" else np.float32))
    return written


def _prepare_all(
    dataset: RawDataset, members: Sequence[Sample], threads: int, preparation: Preparation
) -> Iterator[PreparedSample | PipelineError]:
    """Yield the prepared samples, or their errors, in order."""

    def attempt(sample: Sample) -> PreparedSample | PipelineError:
        try:
            return prepare(dataset, sample, preparation)
        except PipelineError as error:
            return error

    return thread_map(attempt, members, threads)


def _planes(item: PreparedSample) -> dict[str, NDArray[Any]]:
    """Return ``images`` (C, H, W), and ``masks`` and ``fov`` (1, H, W) if the sample has them."""
    planes = {"masks": item.mask, "fov": item.fov}
    return {"images": item.stored} | {name: plane[None] for name, plane in planes.items() if plane is not None}


class _Block:
    """Samples of a shard that are written together, because a call of HDF5 costs as much as a small image.

    Parameters
    ----------
    file : h5py.File
        In which the data sets of the samples are created.
    count : int
        Number of samples of the shard.
    first : PreparedSample
        The first sample, which defines shapes and types.
    """

    def __init__(self, file: h5py.File, count: int, first: PreparedSample) -> None:
        self.dtype = first.stored.dtype
        rows = min(count, max(1, BLOCK_BYTES // first.stored.nbytes))
        self._targets: dict[str, tuple[h5py.Dataset, NDArray[Any]]] = {}
        self._start = self._filled = 0
        for name, array in _planes(first).items():
            # the fastest level compresses binary masks fifty-fold
            options = {} if name == "images" else {"compression": "gzip", "compression_opts": 1}
            shape = {"shape": (count, *array.shape), "chunks": (1, *array.shape)}
            dataset = file.create_dataset(name, dtype=array.dtype, fletcher32=True, **shape, **options)
            self._targets[name] = dataset, np.empty((rows, *array.shape), array.dtype)

    def add(self, item: PreparedSample) -> bool:
        """Add a sample; return whether the block is full."""
        planes = _planes(item)
        for name, (_, buffer) in self._targets.items():
            buffer[self._filled] = planes[name]
        self._filled += 1
        return self._filled == len(self._targets["images"][1])

    def write(self) -> None:
        """Write the samples that were added since the last call."""
        stop = self._start + self._filled
        for dataset, buffer in self._targets.values():
            dataset.write_direct(buffer, np.s_[: self._filled], np.s_[self._start : stop])
        self._start, self._filled = stop, 0


def _write_column(file: h5py.File, name: str, values: NDArray[Any]) -> None:
    file.create_dataset(name, data=values, chunks=values.shape, fletcher32=True)


def _write_metadata(file: h5py.File, members: Sequence[Sample]) -> None:
    names = [sample.id.encode("utf-8", "surrogateescape") for sample in members]
    _write_column(file, "ids", np.array(names, dtype=h5py.string_dtype("utf-8", max(map(len, names)))))
    for key in sorted({key for sample in members for key in sample.metadata}):
        _write_column(file, f"metadata/{key}", np.array([sample.metadata.get(key, np.nan) for sample in members]))


def _write_attributes(
    file: h5py.File, dataset: RawDataset, shard: int, recipe: ShardRecipe, written: Sequence[_Written]
) -> None:
    """Write the attributes that make the file self-describing."""
    digests = [sample.digest for sample in written]
    _write_column(file, "source_sha256", np.array(digests, dtype="S64"))
    attributes = {
        "schema_version": SCHEMA_VERSION,
        "dataset": dataset.name,
        "layout": dataset.layout,
        "origin": dataset.origin,
        "split": recipe.split,
        "shard": shard,
        "size": file["images"].shape[2:],
        "channels": recipe.channels,
        "native": recipe.size == "native",
        "nodata": recipe.nodata,
        "exif": recipe.exif,
        "interpolation_image": recipe.interpolation,
        "interpolation_mask": recipe.interpolation if dataset.mask_kind == "soft" else recipe.mask_resize,
        "mask_resize": recipe.mask_resize,
        "normalization": json.dumps(recipe.normalize.plain(), sort_keys=True),
        "decoding": "image = images * scale + offset, scale and offset for each sample and channel",
        "class_names": json.dumps(dataset.classes),
        "mask_kind": dataset.mask_kind,
        "image_values": json.dumps(merge_values([sample.values for sample in written]).plain(), sort_keys=True),
        "sources_sha256": hashlib.sha256("".join(digests).encode()).hexdigest(),
    }
    if dataset.mask_kind == "index":
        attributes["ignore_value"] = VOID
    for key, value in attributes.items():
        file.attrs[key] = value
