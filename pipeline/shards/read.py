"""Read shards: several files as one sequence of samples, opened lazily in each process."""

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
from pipeline.raw.value_range import ImageValues, merge_values
from pipeline.shards.recipes import Preparation
from pipeline.shards.schema import SCHEMA_VERSION
from pipeline.shards.select import Selection, select_rows

_REBUILD = "run snakemake again: it rebuilds only this shard and what depends on it"
_SIZE_REMEDY = "if the images have several sizes and the data set has `size: native`, set `size: [height, width]`"
_COMMON_ATTRIBUTES = (
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
    """Metadata that all shards of a sequence have in common.

    Parameters
    ----------
    origin : str
        ``"raw files"`` or ``"synthetic"``.
    size : (int, int)
        Height and width.
    mask_kind : {'index', 'soft'}
    preparation : Preparation
        Settings of the preparation.
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
        """Normalization of the images, as plain data."""
        return self.preparation.normalize.plain()


class ShardReader:
    """Shards of one split as one sequence of samples, in the order of the paths.

    Files are opened on first use. File handles are not pickled.

    Parameters
    ----------
    selection : Selection, optional
        Read only these samples, in the order of `select_rows`; they may be in shards of several splits.

    Raises
    ------
    ShardError
        Lists each shard that is missing, damaged, of another schema, or inconsistent with the others. Also raised if
        the shards do not contain exactly the samples of `selection.all_ids`.
    """

    def __init__(self, paths: Sequence[Path], selection: Selection | None = None) -> None:
        self.paths = [Path(path) for path in paths]
        self._files: dict[Path, h5py.File] = {}
        problems: list[Problem] = []
        attributes: dict[Path, dict[str, Any]] = {}
        self._counts: list[int] = []
        for path in self.paths:
            try:
                file = self._open(path)
                attributes[path] = {key: _plain(file.attrs[key]) for key in (*_COMMON_ATTRIBUTES, "schema_version")}
                self._counts.append(len(file["images"]))
            except FileNotFoundError:
                problems.append(Problem(str(path), "no such file", "a shard", "run `snakemake shards`"))
            except (OSError, KeyError) as error:
                actual = f"not a valid shard ({' '.join(str(error).split())[:120]})"
                problems.append(Problem(str(path), actual, "an HDF5 shard of this pipeline", _rebuild_remedy(path)))
        problems += _inconsistencies(attributes)
        if problems or not self.paths:
            self.close()
            raise ShardError(problems or Problem("shards", "no shards", "at least one shard", "run `snakemake shards`"))
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
        """Close all open files."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def column(self, name: str) -> NDArray[Any]:
        """Read a column: ``scale`` (N, C), ``offset`` (N, C), ``original_size`` (N, 2), ``ids`` (N,) of str."""
        parts = []
        for path in self.paths:
            with _shard_errors(path):
                part = self._open(path)[name]
                parts.append(part.asstr()[:] if name == "ids" else part[:])
        values = np.concatenate(parts)
        return values if self._rows is None else values[self._rows]

    def read_array(self, name: str, row: int) -> NDArray[Any]:
        """Read the image, mask or field of view of one sample, as stored.

        Parameters
        ----------
        name : {'images', 'masks', 'fov'}
        row : int
            Position of the sample in the sequence.

        Returns
        -------
        (C, H, W) or (1, H, W) array

        Raises
        ------
        ShardError
            If the checksum does not match.
        """
        if self._rows is not None:
            row = int(self._rows[row])
        shard = int(np.searchsorted(self._starts, row, side="right")) - 1
        path = self.paths[shard]
        with _shard_errors(path):
            return np.asarray(self._open(path)[name][row - self._starts[shard]])

    def read_all(self, name: str) -> NDArray[Any]:
        """Read ``images``, ``masks`` or ``fov`` of all samples into one (N, C, H, W) array."""
        first = self._open(self.paths[0])[name]
        arrays = np.empty((len(self), *first.shape[1:]), dtype=first.dtype)
        if self._rows is not None:
            for position in range(len(self)):
                arrays[position] = self.read_array(name, position)
            return arrays
        for path, start, count in zip(self.paths, self._starts, self._counts, strict=False):
            with _shard_errors(path):
                self._open(path)[name].read_direct(arrays, dest_sel=np.s_[start : start + count])
        return arrays

    def nbytes(self) -> int:
        """Return the size of images, masks and fields of view of all samples, in bytes."""
        files = [self._open(path) for path in self.paths]
        total = sum(file[name].nbytes for file in files for name in ("images", "masks", "fov") if name in file)
        return int(total * len(self) // int(self._starts[-1]))  # all samples have the same size

    def source_digests(self) -> dict[str, str]:
        """Return for each shard the SHA-256 of its raw files."""
        digests = {}
        for path in self.paths:
            with _shard_errors(path):
                digests[str(path)] = str(self._open(path).attrs["sources_sha256"])
        return digests

    def image_values(self) -> ImageValues:
        """Return the types and normalized values of the images of all shards, also of samples that are not selected."""
        parts = []
        for path in self.paths:
            with _shard_errors(path):
                parts.append(ImageValues.model_validate_json(self._open(path).attrs["image_values"]))
        return merge_values(parts)

    def _open(self, path: Path) -> h5py.File:
        if path not in self._files:
            self._files[path] = open_shard(path)
        return self._files[path]


def open_shard(path: Path) -> h5py.File:
    """Open a shard for reading, without a lock: shards are replaced atomically, and some file systems have no locks.

    Raises
    ------
    OSError
    """
    return h5py.File(path, "r", locking=False)


@contextmanager
def _shard_errors(path: Path) -> Iterator[None]:
    """Raise read and checksum errors of the block as a ShardError with the path."""
    try:
        yield
    except (OSError, KeyError) as error:
        actual = f"damaged contents ({' '.join(str(error).split())[:120]})"
        raise ShardError(str(path), actual, "contents that match their checksum", _rebuild_remedy(path)) from error


def _rebuild_remedy(path: Path) -> str:
    """Return the remedy for a bad shard. If it is a link to a file of the store, that file must be deleted too."""
    if path.is_symlink():
        return f"delete the file and its link target {path.resolve()}, and {_REBUILD}"
    return f"delete the file and {_REBUILD}"


def _plain(value: Any) -> Any:  # noqa: ANN401 - any value of an attribute
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _inconsistencies(attributes: dict[Path, dict[str, Any]]) -> list[Problem]:
    """List the shards of another schema version, and those whose attributes differ from the first shard."""
    problems = [
        Problem(
            str(path), f"schema version {values['schema_version']}", f"version {SCHEMA_VERSION}", _rebuild_remedy(path)
        )
        for path, values in attributes.items()
        if values["schema_version"] != SCHEMA_VERSION
    ]
    for key in _COMMON_ATTRIBUTES:
        shard_values = {path: str(values[key]) for path, values in attributes.items()}
        if len(set(shard_values.values())) > 1:
            reference = next(iter(shard_values.values()))
            problems += [
                Problem(
                    str(path),
                    f"{key} {value}",
                    f"{key} {reference}, as in the first shard",
                    _SIZE_REMEDY if key == "size" else _rebuild_remedy(path),
                )
                for path, value in shard_values.items()
                if value != reference
            ]
    return problems
