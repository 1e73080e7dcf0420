"""Describe the first difference between the contents of two files of the same type."""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.files import read_json
from pipeline.core.manifest import MANIFEST_SUFFIX

Difference = tuple[str, str]
"""Location of a difference, and a description with both values."""

WEIGHTS = ("state", "epoch", "scores")
"""Entries of a checkpoint that do not describe how it was made."""


def first_difference(first: Path, second: Path, values_only: bool = False) -> str | None:
    """Describe the first difference of two files; None if their contents are equal.

    Parameters
    ----------
    first, second : Path
        Files whose bytes differ. The suffix selects the comparison: shards by data sets and attributes, checkpoints by
        tensors (bit for bit) and plain data, tables by row and column, JSON by key, images by pixel, other files by
        byte. Damaged files are compared by byte. Manifests are compared without the digests of files.
    values_only : bool
        Ignore how a file was made: only tensors, epoch and scores of checkpoints are compared.

    Returns
    -------
    str or None
        Location and both values of the first difference, and the number of further differences.
    """
    suffix = MANIFEST_SUFFIX if first.name.endswith(MANIFEST_SUFFIX) else first.suffix
    compare = _COMPARISONS.get(suffix)
    if compare is None:
        return _compare_bytes(first, second)
    try:
        differences = [
            (location, description)
            for location, description in compare(first, second)
            if not (values_only and _is_origin(suffix, location))
        ]
    except _READ_ERRORS as error:
        reason = " ".join(str(error).split())[:120]
        return f"{_compare_bytes(first, second)} (and one of the two cannot be opened: {reason})"
    if not differences:
        # only containers may store equal contents as different bytes; other files differ
        return None if values_only or suffix in _CONTAINERS else _compare_bytes(first, second)
    location, description = differences[0]
    count = len(differences) - 1
    more = f", and {count} more difference{'s' if count > 1 else ''}" if count else ""
    return f"{location}: {description}{more}"


def _is_origin(suffix: str, location: str) -> bool:
    """Return whether a difference concerns how a file was made, not its values."""
    return suffix == ".pt" and location.partition(".")[0] not in WEIGHTS


def _describe_values(first: object, second: object) -> str:
    return f"{_short(first)} in the first, {_short(second)} in the second"


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 80 else text[:77] + "..."


def _compare_bytes(first: Path, second: Path) -> str:
    a, b = first.read_bytes(), second.read_bytes()
    length = min(len(a), len(b))
    unequal = np.frombuffer(a[:length], np.uint8) != np.frombuffer(b[:length], np.uint8)
    if not unequal.any():
        return f"{_describe_values(f'{len(a)} bytes', f'{len(b)} bytes')}, equal up to the end of the shorter one"
    offset = int(unequal.argmax())
    return f"byte {offset}: {_describe_values(a[offset], b[offset])}"


def _compare_arrays(location: str, first: NDArray[Any], second: NDArray[Any]) -> Iterator[Difference]:
    """Compare arrays bit for bit: NaN equals NaN, and 0.0 differs from -0.0."""
    for name in ("dtype", "shape"):
        if getattr(first, name) != getattr(second, name):
            yield f"{location}, {name}", _describe_values(getattr(first, name), getattr(second, name))
            return
    if first.dtype.hasobject:
        unequal = first != second
    else:
        width = max(first.dtype.itemsize, 1)
        raw = [np.ascontiguousarray(array).view(np.uint8).reshape(-1, width) for array in (first, second)]
        unequal = (raw[0] != raw[1]).any(axis=1).reshape(first.shape)
    if unequal.any():
        index = tuple(int(coordinate) for coordinate in np.argwhere(unequal)[0])
        count = f", {np.count_nonzero(unequal)} of {unequal.size} values" if unequal.size > 1 else ""
        values = _describe_values(repr(first[index]), repr(second[index]))
        yield f"{location}{list(index) if index else ''}", values + count


def _compare_plain(location: str, first: Any, second: Any) -> Iterator[Difference]:  # noqa: ANN401 - any plain data
    """Compare nested plain data; compare arrays in them bit for bit."""
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        yield from _compare_arrays(location, first, second)
    elif isinstance(first, Mapping) and isinstance(second, Mapping):
        if list(first) != list(second) and set(first) == set(second):
            orders = (", ".join(map(str, mapping)) for mapping in (first, second))
            yield f"{location}, order of keys", _describe_values(*orders)
        for key in sorted({*first, *second}, key=str):
            key_location = f"{location}.{key}" if location else str(key)
            if key not in first or key not in second:
                states = ("present" if key in mapping else "missing" for mapping in (first, second))
                yield key_location, _describe_values(*states)
            else:
                yield from _compare_plain(key_location, first[key], second[key])
    elif _is_list(first) and _is_list(second):
        if len(first) != len(second):
            yield f"{location}, length", _describe_values(len(first), len(second))
        for index, (a, b) in enumerate(zip(first, second, strict=False)):
            yield from _compare_plain(f"{location}[{index}]", a, b)
    elif type(first) is not type(second) or repr(first) != repr(second):
        yield location, _describe_values(repr(first), repr(second))


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _compare_tables(first: Path, second: Path) -> Iterator[Difference]:
    """Compare tables cell by cell, as strings.

    A difference names its row by number, without the header, and by its first cell.
    """
    tables = []
    for path in (first, second):
        with path.open(encoding="utf-8", newline="") as file:
            tables.append(list(csv.reader(file)))
    rows_a, rows_b = tables
    header = rows_a[0] if rows_a else []
    if header != (rows_b[0] if rows_b else []):
        yield "header", _describe_values(", ".join(header), ", ".join(rows_b[0] if rows_b else []))
        return
    for number, (row_a, row_b) in enumerate(zip(rows_a[1:], rows_b[1:], strict=False), 1):
        name = f" ({row_a[0]})" if row_a and row_a[:1] == row_b[:1] else ""
        if len(row_a) != len(row_b):
            yield f"row {number}{name}", _describe_values(f"{len(row_a)} cells", f"{len(row_b)} cells")
        for column, cell_a, cell_b in zip(header, row_a, row_b, strict=False):
            if cell_a != cell_b:
                yield f"row {number}{name}, column {column}", _describe_values(cell_a or "empty", cell_b or "empty")
    if len(rows_a) != len(rows_b):
        yield "number of rows", _describe_values(len(rows_a) - 1, len(rows_b) - 1)


def _read_checkpoint(path: Path) -> Any:  # noqa: ANN401 - plain data with arrays in it
    import torch

    from pipeline.training.torch_files import load_verified

    def as_arrays(value: Any) -> Any:  # noqa: ANN401 - tensors and plain data
        if isinstance(value, torch.Tensor):
            # numpy has no bfloat16, so compare its bits
            return (value.view(torch.int16) if value.dtype == torch.bfloat16 else value).numpy()
        if isinstance(value, Mapping):
            return {key: as_arrays(item) for key, item in value.items()}
        return [as_arrays(item) for item in value] if isinstance(value, list | tuple) else value

    return as_arrays(load_verified(path))


def _read_shard(path: Path) -> dict[str, Any]:
    """Read data sets and attributes, by the names used in messages."""
    import h5py

    from pipeline.shards.read import open_file

    contents: dict[str, Any] = {}

    def read(name: str, item: Any) -> None:  # noqa: ANN401 - h5py names no types
        for key, value in item.attrs.items():
            contents[f"attribute {name}{'.' if name else ''}{key}"] = (
                np.asarray(value) if isinstance(value, np.generic) else value
            )
        if isinstance(item, h5py.Dataset):
            contents[f"data set {name}"] = item[()]

    with open_file(path) as file:
        read("", file)
        file.visititems(read)
    return contents


def _compare_images(first: Path, second: Path) -> Iterator[Difference]:
    from PIL import Image

    with Image.open(first) as a, Image.open(second) as b:
        yield from _compare_arrays("pixel (row, column, channel) ", np.asarray(a), np.asarray(b))


def _read_manifest(path: Path) -> dict[str, Any]:
    return {key: value for key, value in read_json(path).items() if key != "contents"}


def _compare_contents(first: Path, second: Path) -> Iterator[Difference]:
    read = _read_manifest if first.name.endswith(MANIFEST_SUFFIX) else _READERS[first.suffix]
    yield from _compare_plain("", read(first), read(second))


_READERS: dict[str, Callable[[Path], Any]] = {".json": read_json, ".h5": _read_shard, ".pt": _read_checkpoint}
_COMPARISONS: dict[str, Callable[[Path, Path], Iterator[Difference]]] = {
    ".csv": _compare_tables,
    ".png": _compare_images,
    **dict.fromkeys((*_READERS, MANIFEST_SUFFIX), _compare_contents),
}
_CONTAINERS = {".pt", MANIFEST_SUFFIX}
_READ_ERRORS = (OSError, KeyError, ValueError, RuntimeError, EOFError, SyntaxError, csv.Error)
