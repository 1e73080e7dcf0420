"""Read shards: several files as one sequence of samples, opened lazily in each process."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import h5py
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter

from pipeline.core.counts import VOID
from pipeline.core.errors import Problem, ShardError
from pipeline.raw.value_range import ImageValues, merge_values
from pipeline.shards.integrity import invalid_values, rebuild_remedy, require_intact, require_structure
from pipeline.shards.recipes import Preparation
from pipeline.shards.select import Selection, select_rows

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
    "mask_resize",
    "nodata",
    "exif",
    "native",
)


_CLASS_NAMES = TypeAdapter(Annotated[tuple[str, ...], Field(min_length=2, max_length=VOID)])
_MASK_KIND: TypeAdapter[str] = TypeAdapter(Literal["index", "soft"])


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
                with _shard_errors(path):
                    file = self._open(path)
                    attributes[path] = {key: _plain(file.attrs[key]) for key in _COMMON_ATTRIBUTES}
                    self._counts.append(len(file["images"]))
            except FileNotFoundError:
                problems.append(Problem(str(path), "no such file", "a shard", "run `snakemake shards`"))
            except ShardError as error:
                problems += error.problems
        problems += _inconsistencies(attributes)
        if problems or not self.paths:
            self.close()
            raise ShardError(problems or Problem("shards", "no shards", "at least one shard", "run `snakemake shards`"))
        self._starts = np.cumsum([0, *self._counts])
        self._image_type = np.result_type(*(self._open(path)["images"].dtype for path in self.paths))
        try:
            with _shard_errors(self.paths[0]):
                self.info = _info(self._open(self.paths[0]), str(self._image_type))
        except ShardError:
            self.close()
            raise
        self.has_masks = all("masks" in self._open(path) for path in self.paths)
        self.has_fov = all("fov" in self._open(path) for path in self.paths)
        self._rows: NDArray[np.int64] | None = None
        if selection is not None:
            numbers = []
            try:
                for path in self.paths:
                    with _shard_errors(path):
                        numbers.append(int(_plain(self._open(path).attrs["shard"])))
                shards = np.repeat(numbers, self._counts).tolist()
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
            Images have the type that holds those of all shards: with `storage: auto`, shards of 8-bit images are uint8
            and others float32.

        Raises
        ------
        ShardError
            If the checksum does not match, or a mask or field of view has values that it cannot have.
        """
        if self._rows is not None:
            row = int(self._rows[row])
        shard = int(np.searchsorted(self._starts, row, side="right")) - 1
        path = self.paths[shard]
        with _shard_errors(path):
            array = np.asarray(self._open(path)[name][row - self._starts[shard]])
        self._require_values(name, array, path)
        return array.astype(self._image_type, copy=False) if name == "images" else array

    def read_all(self, name: str) -> NDArray[Any]:
        """Read ``images``, ``masks`` or ``fov`` of all samples into one (N, C, H, W) array, as `read_array` does."""
        first = self._open(self.paths[0])[name]
        dtype = self._image_type if name == "images" else first.dtype
        arrays = np.empty((len(self), *first.shape[1:]), dtype=dtype)
        if self._rows is not None:
            for position in range(len(self)):
                arrays[position] = self.read_array(name, position)
            return arrays
        for path, start, count in zip(self.paths, self._starts, self._counts, strict=False):
            with _shard_errors(path):
                self._open(path)[name].read_direct(arrays, dest_sel=np.s_[start : start + count])
            for array in arrays[start : start + count]:
                self._require_values(name, array, path)
        return arrays

    def _require_values(self, name: str, array: NDArray[Any], path: Path) -> None:
        """Refuse a mask or field of view with values that the pipeline never writes."""
        if name == "images":
            return
        classes = len(self.info.class_names) if self.info.mask_kind == "index" else None
        if values := invalid_values(array, name, classes):
            found = f"{name} with the values {', '.join(map(str, values))}"
            expected = "0 or 1" if name == "fov" else f"0 to {len(self.info.class_names) - 1}, or {VOID} where ignored"
            raise ShardError(str(path), found, expected, rebuild_remedy(path))

    def nbytes(self) -> int:
        """Return the size of images, masks and fields of view of all samples in memory, in bytes."""
        height, width = self.info.size
        per_pixel = self.info.channels * self._image_type.itemsize + self.has_masks + self.has_fov
        return len(self) * height * width * per_pixel

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
    """Open a shard for reading, if it is intact and has the structure of a shard.

    Raises
    ------
    ShardError, OSError
    """
    require_intact(path)
    file = open_file(path)
    try:
        require_structure(path, file)
    except ShardError:
        file.close()
        raise
    return file


def open_file(path: Path) -> h5py.File:
    """Open an HDF5 file for reading without a lock: shards are replaced atomically; some file systems have no locks.

    Raises
    ------
    OSError
    """
    return h5py.File(path, "r", locking=False)


def _info(file: h5py.File, storage: str) -> ShardInfo:
    """Read the metadata of a shard; `storage` is the type of the images of all shards of the sequence.

    Raises
    ------
    KeyError, TypeError, ValueError
    """
    attributes, images = file.attrs, file["images"]
    size = int(images.shape[2]), int(images.shape[3])
    return ShardInfo(
        dataset=str(attributes["dataset"]),
        origin=str(attributes["origin"]),
        channels=int(images.shape[1]),
        size=size,
        class_names=_CLASS_NAMES.validate_json(attributes["class_names"]),
        mask_kind=_MASK_KIND.validate_python(attributes["mask_kind"]),
        preparation=Preparation(
            size="native" if attributes["native"] else size,
            channels=attributes["channels"],
            interpolation=attributes["interpolation_image"],
            mask_resize=attributes["mask_resize"],
            storage=storage,
            normalize=json.loads(attributes["normalization"]),
            nodata=attributes["nodata"],
            exif=attributes["exif"],
        ),
    )


@contextmanager
def _shard_errors(path: Path) -> Iterator[None]:
    """Raise read and checksum errors of the block as a ShardError with the path."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (PermissionError, IsADirectoryError) as error:
        remedy = "check the name and its permissions"
        raise ShardError(str(path), error.strerror or str(error), "a file that can be read", remedy) from error
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        actual = f"damaged contents ({' '.join(str(error).split())[:120]})"
        raise ShardError(str(path), actual, "contents that match their checksum", rebuild_remedy(path)) from error


def _plain(value: Any) -> Any:  # noqa: ANN401 - any value of an attribute
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _inconsistencies(attributes: dict[Path, dict[str, Any]]) -> list[Problem]:
    """List the shards whose attributes differ from those of the first shard."""
    problems = []
    for key in _COMMON_ATTRIBUTES:
        shard_values = {path: str(values[key]) for path, values in attributes.items()}
        if len(set(shard_values.values())) > 1:
            reference = next(iter(shard_values.values()))
            problems += [
                Problem(
                    str(path),
                    f"{key} {value}",
                    f"{key} {reference}, as in the first shard",
                    _SIZE_REMEDY if key == "size" else rebuild_remedy(path),
                )
                for path, value in shard_values.items()
                if value != reference
            ]
    return problems
