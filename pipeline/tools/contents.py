"""Open two files of one kind and say where their contents first differ, in the words of that kind."""

import csv
import json
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.manifest import MANIFEST_SUFFIX

Difference = tuple[str, str]
"""Where, and what stands there in either file."""

WEIGHTS = ("state", "epoch", "scores")
"""What a checkpoint holds besides the description of how it was made."""


def first_difference(first: Path, second: Path, values_only: bool = False) -> str | None:
    """Say where two files differ, or None where they differ in nothing that can be read from them.

    Parameters
    ----------
    first, second : Path
        Files whose bytes differ. By their ending they are compared as shards (data sets, attributes), checkpoints
        (tensors to the bit, plain data), tables (row and column), JSON (keys), images (pixels), or else by bytes; by
        bytes also where one of them is damaged. Manifests are compared without digests of the files that they speak of.
    values_only : bool
        Pass over what says how a file was made: of checkpoints tensors, epoch and scores count.

    Returns
    -------
    str or None
        The first place and both values, and how many more places differ.
    """
    kind = MANIFEST_SUFFIX if first.name.endswith(MANIFEST_SUFFIX) else first.suffix
    compare = _KINDS.get(kind)
    if compare is None:
        return _bytes(first, second)
    try:
        found = [one for one in compare(first, second) if not (values_only and _is_origin(kind, one[0]))]
    except _DAMAGED as error:
        reason = " ".join(str(error).split())[:120]
        return f"{_bytes(first, second)} (and one of the two cannot be opened: {reason})"
    if not found:
        # a table or image of other bytes is another file; only containers may hold the same things differently
        return None if values_only or kind in _CONTAINERS else _bytes(first, second)
    where, words = found[0]
    others = len(found) - 1
    more = f", and {others} more place{'s' if others > 1 else ''}" if others else ""
    return f"{where}: {words}{more}"


def _is_origin(suffix: str, where: str) -> bool:
    """Tell a difference in what says how a file was made."""
    return suffix == ".pt" and where.partition(".")[0] not in WEIGHTS


def _values(one: object, other: object) -> str:
    return f"{_short(one)} in the first, {_short(other)} in the second"


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 80 else text[:77] + "..."


def _bytes(first: Path, second: Path) -> str:
    one, other = first.read_bytes(), second.read_bytes()
    shorter = min(len(one), len(other))
    unequal = np.frombuffer(one[:shorter], np.uint8) != np.frombuffer(other[:shorter], np.uint8)
    if not unequal.any():
        return f"{_values(f'{len(one)} bytes', f'{len(other)} bytes')}, the same as far as the shorter one goes"
    place = int(unequal.argmax())
    return f"byte {place}: {_values(one[place], other[place])}"


def _arrays(where: str, one: NDArray[Any], other: NDArray[Any]) -> Iterator[Difference]:
    """Compare to the bit: NaN equals NaN, and 0.0 is not -0.0."""
    for name in ("dtype", "shape"):
        if getattr(one, name) != getattr(other, name):
            yield f"{where}, {name}", _values(getattr(one, name), getattr(other, name))
            return
    if one.dtype.hasobject:
        unequal = one != other
    else:
        width = max(one.dtype.itemsize, 1)
        raw = [np.ascontiguousarray(array).view(np.uint8).reshape(-1, width) for array in (one, other)]
        unequal = (raw[0] != raw[1]).any(axis=1).reshape(one.shape)
    if unequal.any():
        place = tuple(int(index) for index in np.argwhere(unequal)[0])
        count = f", {np.count_nonzero(unequal)} of {unequal.size} values" if unequal.size > 1 else ""
        yield f"{where}{list(place) if place else ''}", _values(repr(one[place]), repr(other[place])) + count


def _plain(where: str, one: Any, other: Any) -> Iterator[Difference]:  # noqa: ANN401 - any plain data
    """Compare nested plain data; arrays in it to the bit."""
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        yield from _arrays(where, one, other)
    elif isinstance(one, Mapping) and isinstance(other, Mapping):
        if list(one) != list(other) and set(one) == set(other):
            yield f"{where}, order of keys", _values(", ".join(map(str, one)), ", ".join(map(str, other)))
        for key in sorted({*one, *other}, key=str):
            place = f"{where}.{key}" if where else str(key)
            if key not in one or key not in other:
                yield place, _values(*("there" if key in side else "missing" for side in (one, other)))
            else:
                yield from _plain(place, one[key], other[key])
    elif _is_list(one) and _is_list(other):
        if len(one) != len(other):
            yield f"{where}, length", _values(len(one), len(other))
        for index, (left, right) in enumerate(zip(one, other, strict=False)):
            yield from _plain(f"{where}[{index}]", left, right)
    elif type(one) is not type(other) or repr(one) != repr(other):
        yield where, _values(repr(one), repr(other))


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _table(first: Path, second: Path) -> Iterator[Difference]:
    """Compare cell by cell, as text; a row is named by its number below the header and by its first cell."""
    tables = []
    for path in (first, second):
        with path.open(encoding="utf-8", newline="") as file:
            tables.append(list(csv.reader(file)))
    one, other = tables
    header = one[0] if one else []
    if header != (other[0] if other else []):
        yield "header", _values(", ".join(header), ", ".join(other[0] if other else []))
        return
    for number, (left, right) in enumerate(zip(one[1:], other[1:], strict=False), 1):
        name = f" ({left[0]})" if left and left[:1] == right[:1] else ""
        if len(left) != len(right):
            yield f"row {number}{name}", _values(f"{len(left)} cells", f"{len(right)} cells")
        for column, here, there in zip(header, left, right, strict=False):
            if here != there:
                yield f"row {number}{name}, column {column}", _values(here or "empty", there or "empty")
    if len(one) != len(other):
        yield "number of rows", _values(len(one) - 1, len(other) - 1)


def _read_json(path: Path) -> Any:  # noqa: ANN401 - any plain data
    return json.loads(path.read_text(encoding="utf-8"))


def _read_checkpoint(path: Path) -> Any:  # noqa: ANN401 - plain data with arrays in it
    import torch

    def as_arrays(value: Any) -> Any:  # noqa: ANN401 - tensors and plain data
        if isinstance(value, torch.Tensor):
            # numpy has no bfloat16; its bits are what counts
            return (value.view(torch.int16) if value.dtype == torch.bfloat16 else value).numpy()
        if isinstance(value, Mapping):
            return {key: as_arrays(item) for key, item in value.items()}
        return [as_arrays(item) for item in value] if isinstance(value, list | tuple) else value

    return as_arrays(torch.load(path, map_location="cpu", weights_only=True))


def _read_shard(path: Path) -> dict[str, Any]:
    """Read data sets and attributes under the names that people are told."""
    import h5py

    from pipeline.shards.read import open_shard

    contents: dict[str, Any] = {}

    def read(name: str, item: Any) -> None:  # noqa: ANN401 - h5py names no types
        for key, value in item.attrs.items():
            contents[f"attribute {name}{'.' if name else ''}{key}"] = (
                np.asarray(value) if isinstance(value, np.generic) else value
            )
        if isinstance(item, h5py.Dataset):
            contents[f"data set {name}"] = item[()]

    with open_shard(path) as file:
        read("", file)
        file.visititems(read)
    return contents


def _image(first: Path, second: Path) -> Iterator[Difference]:
    from PIL import Image

    with Image.open(first) as one, Image.open(second) as other:
        yield from _arrays("pixel (row, column, channel) ", np.asarray(one), np.asarray(other))


def _read_manifest(path: Path) -> dict[str, Any]:
    return {key: value for key, value in _read_json(path).items() if key != "contents"}


def _contents(first: Path, second: Path) -> Iterator[Difference]:
    read = _read_manifest if first.name.endswith(MANIFEST_SUFFIX) else _READERS[first.suffix]
    yield from _plain("", read(first), read(second))


_READERS: dict[str, Callable[[Path], Any]] = {".json": _read_json, ".h5": _read_shard, ".pt": _read_checkpoint}
_KINDS: dict[str, Callable[[Path, Path], Iterator[Difference]]] = {
    ".csv": _table,
    ".png": _image,
    **dict.fromkeys((*_READERS, MANIFEST_SUFFIX), _contents),
}
_CONTAINERS = {".pt", MANIFEST_SUFFIX}
_DAMAGED = (
    *(OSError, KeyError, ValueError, RuntimeError, EOFError, SyntaxError),
    *(csv.Error, pickle.UnpicklingError, zipfile.BadZipFile),
)
