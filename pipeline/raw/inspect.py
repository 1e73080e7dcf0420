"""Read one sample and say everything that is wrong with it: conversion and check both stand on it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import PipelineError, Problem, RawDataError
from pipeline.raw.dataset import RawDataset, same_size
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
        The sample's own files, by path; its page alone where they are stacks.
    """

    pixels: NDArray[Any]
    mask: ClassMask | None
    fov: ClassMask | None
    contents: Mapping[str, bytes]


def read_file(sample: Sample, path: str) -> bytes:
    """Read what a sample has in one of its own files: all of it, or the page of a stack; see `read_bytes`."""
    return read_bytes(path, sample.page)


def read_sample(dataset: RawDataset, sample: Sample, channels: str) -> Decoded:
    """Read image, mask and field of view of one sample, and compare their sizes.

    Parameters
    ----------
    dataset : RawDataset
        Says what mask values mean.
    channels : {'rgb', 'grey'}

    Raises
    ------
    RawDataError
        Listing everything that is wrong with the sample's files, not only with the first of them.
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
    problems += [problem for what, plane in planes if (problem := same_size(sample, what, plane, size)) is not None]
    if problems:
        raise RawDataError(problems)
    return Decoded(pixels, mask, fov, contents)


def refusal(sample: Sample, pixels: NDArray[Any], storage: str, normalize: str) -> Problem | None:
    """Say why an image that was read cannot be stored as the configuration asks, or return None.

    Parameters
    ----------
    pixels : (H, W, C) array of uint8, uint16 or float32
    storage : {'float16', 'float32', 'uint8'}
        Must keep all bits of the image: float16 has 11, float32 has 24.
    normalize : str
        Method. All but ``minmax`` start from the full range of the type, which floats do not have.
    """
    if pixels.dtype != np.uint8 and storage != "float32":
        kept = "8-bit pixels, because `storage: uint8` keeps the raw values"
        if storage == "float16":
            kept = "8-bit pixels, because `storage: float16` keeps 11 bits of a number and merges finer levels"
        return Problem(sample.image, f"{pixels.dtype} pixels", kept, "set `storage: float32`", kind="storage")
    if pixels.dtype == np.float32 and normalize != "minmax":
        found = f"float pixels have no full range, which `normalize: {normalize}` needs"
        fitting = "a normalization that fits the image"
        return Problem(sample.image, found, fitting, "set `normalize: minmax`", kind="storage")
    return None
