"""Read one sample and list everything that is wrong with it, for the shards and for the check."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import PipelineError, Problem, RawDataError
from pipeline.raw.dataset import RawDataset, size_problem
from pipeline.raw.decode.image import read_bytes, read_image
from pipeline.raw.decode.masks import ClassMask
from pipeline.raw.samples import Sample

_Read = TypeVar("_Read")


@dataclass(frozen=True)
class Decoded:
    """A sample at its native size.

    Parameters
    ----------
    pixels : (H, W, C) array of uint8, uint16 or float32
    mask : (H, W) array of uint8, optional
        See `RawDataset.read_truth`.
    fov : (H, W) array of uint8, optional
        1 inside the field of view, 0 outside.
    contents : mapping of str to bytes
        Bytes of the sample's own files, by path; only its page if they are stacks.
    """

    pixels: NDArray[Any]
    mask: ClassMask | None
    fov: ClassMask | None
    contents: Mapping[str, bytes]


def read_file(sample: Sample, path: str) -> bytes:
    """Read one of a sample's own files, or only its page of a stack; see `read_bytes`."""
    return read_bytes(path, sample.page)


def read_sample(dataset: RawDataset, sample: Sample, channels: str) -> Decoded:
    """Read image, mask and field of view of one sample, and compare their sizes.

    Parameters
    ----------
    dataset : RawDataset
        Defines the meaning of mask values.
    channels : {'rgb', 'grey'}

    Raises
    ------
    RawDataError
        Listing every problem of the sample's files.
    """
    problems: list[Problem] = []

    def attempt(read: Callable[[], _Read]) -> _Read | None:
        try:
            return read()
        except PipelineError as error:
            problems.extend(error.problems)
            return None

    contents: dict[str, bytes] = {}
    for path in sample.files:
        data = attempt(partial(read_file, sample, path))
        if data is not None:
            contents[path] = data
    pixels = mask = fov = None
    if sample.image in contents:
        pixels = attempt(lambda: read_image(sample.image, channels, contents[sample.image], sample.page))
    if sample.labelled and all(path in contents for path in sample.mask_files):
        mask = attempt(lambda: dataset.read_truth(sample, contents))
    if sample.fov is not None and sample.fov in contents:
        fov = attempt(lambda: dataset.read_fov(sample, contents[str(sample.fov)]))
    if pixels is None:
        raise RawDataError(problems)
    planes = ((sample.mask or sample.codes_file or sample.image, mask), (sample.fov or "", fov))
    size = (int(pixels.shape[0]), int(pixels.shape[1]))
    problems += [problem for path, plane in planes if (problem := size_problem(sample, path, plane, size)) is not None]
    if problems:
        raise RawDataError(problems)
    return Decoded(pixels, mask, fov, contents)


def storage_problem(sample: Sample, pixels: NDArray[Any], storage: str, normalize: str) -> Problem | None:
    """Return why an image cannot be stored as configured, or None.

    Parameters
    ----------
    pixels : (H, W, C) array of uint8, uint16 or float32
    storage : {'float16', 'float32', 'uint8'}
        Must keep all bits of the image: float16 has 11, float32 has 24.
    normalize : str
        Normalization method. All but ``minmax`` need the full range of the type, which floats do not have.
    """
    if pixels.dtype != np.uint8 and storage != "float32":
        expected = "8-bit pixels, because `storage: uint8` keeps the raw values"
        if storage == "float16":
            expected = "8-bit pixels, because `storage: float16` keeps 11 bits of a number and merges finer levels"
        return Problem(sample.image, f"{pixels.dtype} pixels", expected, "set `storage: float32`", kind="storage")
    if pixels.dtype == np.float32 and normalize != "minmax":
        return Problem(
            sample.image,
            f"float pixels, which have no full range, but `normalize: {normalize}` needs one",
            "a normalization that fits the image",
            "set `normalize: minmax`",
            kind="storage",
        )
    return None
