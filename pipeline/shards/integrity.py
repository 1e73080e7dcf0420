"""Integrity of shards: a checksum of the whole file, verified before HDF5 reads it, and the structure of its contents.

HDF5 does not notice every kind of damage, and may hang on damaged files. A file with a valid checksum may still be
written by another program, so its structure is verified too, before any data are read.
"""

import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np
from numpy.typing import NDArray

from pipeline.core import manifest
from pipeline.core.counts import VOID
from pipeline.core.digests import FileState, file_state
from pipeline.core.errors import Problem, ShardError
from pipeline.raw.decode.containers import MAX_PIXELS
from pipeline.shards.schema import SCHEMA_VERSION

HEADER_BYTES = 512
"""Size of the user block of HDF5, which holds the checksum of the bytes after it."""

_HEADER = re.compile(rb"segmentation shard, CRC-32 ([0-9a-f]{8}), ([0-9]{1,19}) bytes\n\0+")
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_FLAGS_POSITION = 11  # in the superblock; not 0 while a program has the file open for writing
_BLOCK_BYTES = 2**22
_MAX_ID = 255 - len(".png")  # bytes
_MAX_LISTED = 5
_CHANNELS = {"rgb": 3, "grey": 1}
_PLANES = ("masks", "fov")
_LEVELS = ("scale", "offset")
_INTACT = "a complete shard, as the pipeline wrote it"

_verified: dict[Path, FileState | None] = {}
"""Files whose checksum this process has verified, and their state then."""


def seal(file: BinaryIO) -> None:
    """Write the checksum of a complete shard into its user block.

    Parameters
    ----------
    file : binary file
        Open for reading and writing, with a user block of `HEADER_BYTES`.
    """
    checksum, size = _checksum(file)
    file.seek(0)
    file.write(f"segmentation shard, CRC-32 {checksum:08x}, {size} bytes\n".encode().ljust(HEADER_BYTES, b"\0"))


def _checksum(file: BinaryIO) -> tuple[int, int]:
    """Return the CRC-32 and the number of the bytes after the user block."""
    file.seek(HEADER_BYTES)
    checksum = size = 0
    while block := file.read(_BLOCK_BYTES):
        checksum, size = zlib.crc32(block, checksum), size + len(block)
    return checksum, size


def require_intact(path: Path) -> None:
    """Verify the checksum of a shard, unless this process has verified the unchanged file before.

    Raises
    ------
    ShardError
        If the file is no shard, is damaged, or is open for writing in another program.
    OSError
    """
    state = file_state(str(path))
    if state is not None and _verified.get(path) == state:
        return
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
        start = file.read(_FLAGS_POSITION + 1)
        sealed = _HEADER.fullmatch(header)
        if sealed is None:
            raise ShardError(_foreign_problem(path, header, start))
        checksum, size = _checksum(file)
    if (f"{checksum:08x}".encode(), str(size).encode()) != sealed.groups():
        raise ShardError(_damage_problem(path, size, int(sealed[2]), start))
    _verified[path] = state


def _foreign_problem(path: Path, header: bytes, start: bytes) -> Problem:
    """Return the problem of a file without the header of a shard."""
    if header.startswith(_HDF5_SIGNATURE):
        found = "an HDF5 file of another program, or a shard of another version of the pipeline"
    elif start.startswith(_HDF5_SIGNATURE):
        found = "a shard whose first bytes are damaged"
    else:
        found = f"a file that starts with {header[:8]!r}" if header else "an empty file"
    return Problem(str(path), found, "a shard of this version of the pipeline", rebuild_remedy(path))


def _damage_problem(path: Path, size: int, expected_size: int, start: bytes) -> Problem:
    """Return the problem of a shard with other bytes than its checksum."""
    if size == expected_size and start.startswith(_HDF5_SIGNATURE) and start[_FLAGS_POSITION]:
        return Problem(
            str(path),
            "a shard that another program has open for writing, or had open when it was killed",
            "a shard that no program changes",
            f"close the program, then try again; if this message stays, {rebuild_remedy(path)}",
        )
    found = "contents that do not match their checksum: the file is damaged, or was edited"
    if size != expected_size:
        found = f"{size + HEADER_BYTES} bytes of {expected_size + HEADER_BYTES}: the file is damaged, or was edited"
    return Problem(str(path), found, _INTACT, rebuild_remedy(path))


def rebuild_remedy(path: Path) -> str:
    """Return the remedy for a bad shard: only a file with a manifest was written by the pipeline and may be deleted."""
    if manifest.find(path) is None:
        return "name a shard that `snakemake shards` or `python -m pipeline shard` wrote, or write it again"
    rebuild = "run snakemake again: it rebuilds only this shard and what depends on it"
    return f"delete the {'link' if path.is_symlink() else 'file'} and {rebuild}"


def require_structure(path: Path, file: h5py.File) -> None:
    """Verify that all data of a shard are in the file itself, with checksums, and have the shapes and types of a shard.

    Raises
    ------
    ShardError
    """
    try:
        reason = next(_structure_problems(file), None)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:120]
    if reason is not None:
        raise ShardError(str(path), f"not a valid shard ({reason})", _INTACT, rebuild_remedy(path))


def _structure_problems(file: h5py.File) -> Iterator[str]:
    if (version := file.attrs["schema_version"]) != SCHEMA_VERSION:
        yield f"schema version {version}, not {SCHEMA_VERSION}"
    yield from _link_problems(file)
    datasets = {name: file[name] for name in file if name != "metadata"}
    if "metadata" in file:
        yield from _link_problems(file["metadata"])
        datasets |= {f"metadata/{name}": item for name, item in file["metadata"].items()}
    yield from (f"{name!r} is no data set" for name, item in datasets.items() if not isinstance(item, h5py.Dataset))
    shape, count = file["images"].shape, file["images"].shape[0]
    channels = _CHANNELS[file.attrs["channels"]]
    if len(shape) != 4 or count < 1 or shape[1] != channels or not 1 <= shape[2] * shape[3] <= MAX_PIXELS:
        yield f"images of shape {shape}"
    columns: dict[str, tuple[tuple[int, ...], Callable[[Any], bool]]] = {
        "images": (shape, lambda dtype: dtype in ("float16", "float32", "uint8")),
        **{name: ((count, 1, *shape[2:]), lambda dtype: dtype == "uint8") for name in _PLANES},
        **{name: ((count, channels), lambda dtype: dtype == "float32") for name in _LEVELS},
        "original_size": ((count, 2), lambda dtype: dtype == "int32"),
        "ids": ((count,), lambda dtype: dtype.kind == "S" and dtype.itemsize <= _MAX_ID),
        "source_sha256": ((count,), lambda dtype: dtype == "S64"),
        **{name: ((count,), lambda dtype: dtype.kind in "fiu") for name in datasets if name.startswith("metadata/")},
    }
    if unknown := datasets.keys() - columns.keys():
        yield f"unknown data sets {', '.join(sorted(unknown))}"
    if missing := columns.keys() - datasets.keys() - {*_PLANES}:
        yield f"no {', '.join(sorted(missing))}"
    for name, item in datasets.items():
        expected_shape, fits = columns[name]
        if item.shape != expected_shape or not fits(item.dtype):
            yield f"{name!r} of shape {item.shape} and type {item.dtype}"
        yield from _storage_problems(name, item, per_sample=name in ("images", *_PLANES))
    yield from _column_problems(file)


def _column_problems(file: h5py.File) -> Iterator[str]:
    """Yield the values of columns that the pipeline never writes."""
    ids = [str(name) for name in file["ids"].asstr()[:]]
    if unfit := [name for name in ids if not name or name.startswith(".") or "/" in name or "\0" in name]:
        yield f"identifiers that are no file names: {', '.join(map(repr, unfit[:_MAX_LISTED]))}"
    if repeated := [name for name, times in Counter(ids).items() if times > 1]:
        yield f"repeated identifiers: {', '.join(map(repr, repeated[:_MAX_LISTED]))}"
    sizes = file["original_size"][:].astype(np.int64)
    unfit_sizes = (sizes < 1).any(axis=1) | (sizes.prod(axis=1) > MAX_PIXELS)
    if unfit_sizes.any():
        yield f"original sizes {', '.join(map(str, sizes[unfit_sizes][:_MAX_LISTED].tolist()))}"
    yield from (f"values of {name!r} that are not finite" for name in _LEVELS if not np.isfinite(file[name][:]).all())


def invalid_values(plane: NDArray[np.uint8], name: str, classes: int | None) -> list[int]:
    """Return the values of a stored plane that the pipeline never writes, at most a few.

    Parameters
    ----------
    plane : array of uint8
        Mask or field of view.
    name : {'masks', 'fov'}
    classes : int, optional
        Number of classes of masks of class indices; soft masks have all values.
    """
    if name == "fov":
        invalid = plane > 1
    elif classes is None or plane.max() < classes:
        return []
    else:
        invalid = plane - np.uint8(classes) < VOID - classes  # wraps around: classes or more, and not VOID
    return np.unique(plane[invalid]).tolist()[:_MAX_LISTED] if invalid.any() else []


def _link_problems(group: h5py.Group) -> Iterator[str]:
    for name in group:
        if group.id.links.get_info(name.encode("utf-8", "surrogateescape")).type != h5py.h5l.TYPE_HARD:
            yield f"{name!r} is a link to another place or file"


def _storage_problems(name: str, item: h5py.Dataset, *, per_sample: bool) -> Iterator[str]:
    """Yield why the data of a data set may be elsewhere, missing or without a checksum."""
    settings = item.id.get_create_plist()
    if settings.get_external_count():
        yield f"{name!r} is stored in another file"
    if settings.get_layout() != h5py.h5d.CHUNKED:
        yield f"{name!r} is not stored in chunks of this file"
    filters = [settings.get_filter(index)[0] for index in range(settings.get_nfilters())]
    if filters not in ([h5py.h5z.FILTER_FLETCHER32], [h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_FLETCHER32]):
        yield f"{name!r} has the filters {filters or 'none'}, not a checksum (Fletcher-32), with or without gzip"
    if item.chunks != ((1, *item.shape[1:]) if per_sample else item.shape):
        yield f"{name!r} has chunks of shape {item.chunks}"
    sizes: list[int] = []
    skipped: list[int] = []

    def note(chunk: Any) -> None:  # noqa: ANN401 - h5py names no type
        sizes.append(chunk.size)
        skipped.append(chunk.filter_mask)

    item.id.chunk_iter(note)
    if len(sizes) != (item.shape[0] if per_sample else 1) or any(skipped):
        yield f"{name!r} has {len(sizes)} chunks, or chunks without a checksum"
