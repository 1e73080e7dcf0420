"""Read shards: many files as one sequence of samples, opened lazily in each process."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import Problem, ShardError
from pipeline.shards.recipes import Preparation
from pipeline.shards.schema import SCHEMA_VERSION
from pipeline.shards.select import Selection, select_rows

_REBUILT = "run snakemake again: only this shard is rebuilt, then what depends on it"
_ONE_SIZE = "where `size: native` meets images of several sizes, give the data set a `size: [height, width]`"
_SAME = (
    "dataset",
    "size",
    "channels",
    "normalization",
    "class_names",
    "mask_kind",
    "origin",
    "interpolation_image",
    "native",
)


@dataclass(frozen=True)
class ShardInfo:
    """What all shards of a sequence have in common.

    Parameters
    ----------
    origin : str
        ``"raw files"`` or ``"synthetic"``.
    size : (int, int)
        Height and width.
    mask_kind : {'index', 'soft'}
    preparation : Preparation
        How images were prepared.
    """

    dataset: str
    origin: str
    channels: int
    size: tuple[int, int]
    class_names: tuple[str, ...]
    mask_kind: str
    preparation: Preparation

    @property
    def normalization(self) -> dict[str, Any]:
        """How images were normalized, as plain data."""
        return self.preparation.normalize.plain()


class ShardReader:
    """Shards of one split as one sequence, in the order of the paths given.

    Handles are opened on first use and are not carried into another process.

    Parameters
    ----------
    selection : Selection, optional
        Read only these samples, in the order that `select_rows` gives them; they may lie in shards of several splits.

    Raises
    ------
    ShardError
        Listing every shard that is missing, damaged, of another schema, or different from the others; or if they do
        not hold the samples that a selection is to be made from.
    """

    def __init__(self, paths: Sequence[Path], selection: Selection | None = None) -> None:
        self.paths = [Path(path) for path in paths]
        self._files: dict[Path, h5py.File] = {}
        problems: list[Problem] = []
        described: dict[Path, dict[str, Any]] = {}
        self._counts: list[int] = []
        for path in self.paths:
            try:
                file = self._open(path)
                described[path] = {key: _plain(file.attrs[key]) for key in (*_SAME, "schema_version")}
                self._counts.append(len(file["images"]))
            except FileNotFoundError:
                problems.append(Problem(str(path), "no such file", "a shard", "run `snakemake shards`"))
            except (OSError, KeyError) as error:
                found = f"not a whole shard ({' '.join(str(error).split())[:120]})"
                problems.append(Problem(str(path), found, "an HDF5 shard of this pipeline", _rebuild(path)))
        problems += _disagreements(described)
        if problems or not self.paths:
            self.close()
            raise ShardError(problems or Problem("shards", "none", "at least one file", "run `snakemake shards`"))
        self._starts = np.cumsum([0, *self._counts])
        first = self._open(self.paths[0])
        size = int(first["images"].shape[2]), int(first["images"].shape[3])
        self.info = ShardInfo(
            dataset=str(first.attrs["dataset"]),
            origin=str(first.attrs["origin"]),
            channels=int(first["images"].shape[1]),
            size=size,
            class_names=tuple(json.loads(first.attrs["class_names"])),
            mask_kind=str(first.attrs["mask_kind"]),
            preparation=Preparation(
                size="native" if first.attrs["native"] else size,
                channels=first.attrs["channels"],
                interpolation=first.attrs["interpolation_image"],
                storage=str(first["images"].dtype),
                normalize=json.loads(first.attrs["normalization"]),
            ),
        )
        self.has_masks = all("masks" in self._open(path) for path in self.paths)
        self.has_fov = all("fov" in self._open(path) for path in self.paths)
        self._rows: NDArray[np.int64] | None = None
        if selection is not None:
            numbers = [int(_plain(self._open(path).attrs["shard"])) for path in self.paths]
            shards = np.repeat(numbers, self._counts).tolist()
            try:
                self._rows = select_rows(self.column("ids").tolist(), shards, selection, self.paths)
            except ShardError:
                self.close()
                raise

    def __len__(self) -> int:
        return int(self._starts[-1]) if self._rows is None else len(self._rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": {}}

    def close(self) -> None:
        """Close every open file."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def column(self, name: str) -> NDArray[Any]:
        """Read a whole column: ``scale`` (N, C), ``offset`` (N, C), ``original_size`` (N, 2), ``ids`` (N,) of str."""
        parts = []
        for path in self.paths:
            with _checked(path):
                part = self._open(path)[name]
                parts.append(part.asstr()[:] if name == "ids" else part[:])
        whole = np.concatenate(parts)
        return whole if self._rows is None else whole[self._rows]

    def plane(self, name: str, row: int) -> NDArray[Any]:
        """Read one sample as stored.

        Parameters
        ----------
        name : {'images', 'masks', 'fov'}
        row : int
            Position in the sequence.

        Returns
        -------
        (C, H, W) or (1, H, W) array

        Raises
        ------
        ShardError
            If its checksum does not match.
        """
        if self._rows is not None:
            row = int(self._rows[row])
        shard = int(np.searchsorted(self._starts, row, side="right")) - 1
        path = self.paths[shard]
        with _checked(path):
            return np.asarray(self._open(path)[name][row - self._starts[shard]])

    def whole(self, name: str) -> NDArray[Any]:
        """Read ``images``, ``masks`` or ``fov`` of all samples into one (N, C, H, W) array."""
        first = self._open(self.paths[0])[name]
        out = np.empty((len(self), *first.shape[1:]), dtype=first.dtype)
        if self._rows is not None:
            for position in range(len(self)):
                out[position] = self.plane(name, position)
            return out
        for path, start, count in zip(self.paths, self._starts, self._counts, strict=False):
            with _checked(path):
                self._open(path)[name].read_direct(out, dest_sel=np.s_[start : start + count])
        return out

    def nbytes(self) -> int:
        """Return what `whole` takes for everything a sample has, in bytes."""
        files = [self._open(path) for path in self.paths]
        total = sum(file[name].nbytes for file in files for name in ("images", "masks", "fov") if name in file)
        return int(total * len(self) // int(self._starts[-1]))  # samples are of one size

    def source_digests(self) -> dict[str, str]:
        """Return for each shard the SHA-256 over the raw files that it was made from."""
        digests = {}
        for path in self.paths:
            with _checked(path):
                digests[str(path)] = str(self._open(path).attrs["sources_sha256"])
        return digests

    def _open(self, path: Path) -> h5py.File:
        if path not in self._files:
            self._files[path] = open_shard(path)
        return self._files[path]


def open_shard(path: Path) -> h5py.File:
    """Open a file to read, without a lock: it is only ever replaced as a whole, and some file systems have no locks.

    Raises
    ------
    OSError
    """
    return h5py.File(path, "r", locking=False)


@contextmanager
def _checked(path: Path) -> Iterator[None]:
    """Turn a failed checksum or read inside the block into an error that names the shard."""
    try:
        yield
    except (OSError, KeyError) as error:
        found = f"damaged contents ({' '.join(str(error).split())[:120]})"
        raise ShardError(str(path), found, "contents that match their checksum", _rebuild(path)) from error


def _rebuild(path: Path) -> str:
    """Say how to get the shard again; one that came out of a cache would come out of it again."""
    if path.is_symlink():
        return f"delete the file and what it links to, {path.resolve()}, and {_REBUILT}"
    return f"delete the file and {_REBUILT}"


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever an attribute holds
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _disagreements(described: dict[Path, dict[str, Any]]) -> list[Problem]:
    problems = [
        Problem(str(path), f"schema version {said['schema_version']}", f"version {SCHEMA_VERSION}", _rebuild(path))
        for path, said in described.items()
        if said["schema_version"] != SCHEMA_VERSION
    ]
    for key in _SAME:
        values = {path: str(said[key]) for path, said in described.items()}
        if len(set(values.values())) > 1:
            reference = next(iter(values.values()))
            problems += [
                Problem(
                    str(path),
                    f"{key} {value}",
                    f"{key} {reference}, as the first shard has it",
                    _ONE_SIZE if key == "size" else _rebuild(path),
                )
                for path, value in values.items()
                if value != reference
            ]
    return problems
