"""Read one sample and list everything that is wrong with it, for the shards and for the check."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import PipelineError, Problem, RawDataError, plural
from pipeline.raw.dataset import RawDataset, size_problem
from pipeline.raw.decode.headers import describe_orientation, read_orientation
from pipeline.raw.decode.image import read_bytes
from pipeline.raw.decode.masks import ClassMask
from pipeline.raw.samples import Sample

_Read = TypeVar("_Read")

_UPRIGHT = (
    "if the masks were drawn on the images as stored, set `exif: ignore`; if they fit the images as shown, leave it"
)


@dataclass(frozen=True)
class Decoded:
    """A sample at its native size.

    Parameters
    ----------
    pixels : (H, W, C) array of uint8, uint16 or float32
    mask : (H, W) array of uint8, optional
        See `RawDataset.read_truth`.
    fov : (H, W) array of uint8, optional
        1 inside the field of view, 0 outside. With `nodata: ignore` there always is one: pixels without data are
        outside.
    orientations : str, optional
        How the orientation tags of image and masks differ, if they do.
    contents : mapping of str to bytes
        Bytes of the sample's own files, by path; only its page if they are stacks.
    """

    pixels: NDArray[Any]
    mask: ClassMask | None
    fov: ClassMask | None
    contents: Mapping[str, bytes]
    orientations: str | None = None


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
    image = mask = fov = None
    if sample.image in contents:
        image = attempt(lambda: dataset.read_image(sample, channels, contents[sample.image]))
    if sample.labelled and all(path in contents for path in sample.mask_files):
        mask = attempt(lambda: dataset.read_mask(sample, contents))
    if sample.fov is not None and sample.fov in contents:
        fov = attempt(lambda: dataset.read_fov(sample, contents[str(sample.fov)]))
    if image is None:
        raise RawDataError(problems)
    pixels, valid, orientation = image
    planes = ((sample.mask or sample.codes_file or sample.image, mask), (sample.fov or "", fov))
    size = (int(pixels.shape[0]), int(pixels.shape[1]))
    orientations = None if dataset.source.exif == "ignore" else _orientation_mismatch(sample, contents, orientation)
    problems += [
        problem if orientations is None else replace(problem, found=f"{problem.found}; {orientations}", remedy=_UPRIGHT)
        for path, plane in planes
        if (problem := size_problem(sample, path, plane, size)) is not None
    ]
    if problems:
        raise RawDataError(problems)
    if dataset.source.nodata == "ignore":
        valid = np.ones(size, dtype=bool) if valid is None else valid
        mask = mask if mask is None or dataset.mask_kind == "soft" else dataset.ignore_gaps(mask, valid)
        fov = valid.astype(np.uint8) if fov is None else fov * valid
    return Decoded(pixels, mask, fov, contents, orientations)


def _orientation_mismatch(sample: Sample, contents: Mapping[str, bytes], expected: int) -> str | None:
    """Return how the orientation tag of the image differs from those of its mask and field of view, or None."""
    if not sample.labelled and sample.fov is None:
        return None
    applied = {path: read_orientation(data) for path, data in contents.items() if path != sample.image}
    others = [path for path, orientation in applied.items() if orientation != expected]
    if sample.mask_codes is not None and expected != 1:
        others.append(str(sample.codes_file))
    if not others:
        return None
    first = others[0]
    masks = describe_orientation(applied.get(first, 1))
    return f"{sample.image} is read {describe_orientation(expected)}, {first} {masks}"


def orientation_warning(mismatches: Sequence[str], image_count: int) -> tuple[str, str, str] | None:
    """Return what was found, expected and the remedy for images that are turned unlike their masks; None without any.

    Parameters
    ----------
    mismatches : sequence of str
        `Decoded.orientations` of these images.
    """
    if not mismatches:
        return None
    return (
        f"{len(mismatches)} of {plural(image_count, 'image')} turned unlike their masks by their orientation tags: "
        f"{mismatches[0]}",
        "image and mask in the same orientation",
        f"look at the contact sheet of `check`: {_UPRIGHT}",
    )


def unequal_sizes(sizes: Mapping[tuple[int, int], Sequence[str]]) -> list[Problem]:
    """List the sizes that images of one split have, if there are several and shards keep the native size.

    Parameters
    ----------
    sizes : mapping of (int, int) to sequence of str
        Height and width to the image files.
    """
    if len(sizes) < 2:
        return []
    return [
        Problem(
            paths[0] + (f" and {len(paths) - 1} more" if len(paths) > 1 else ""),
            f"{width}x{height} pixels",
            "one size for all images of a split, because of `size: native`",
            "set `size: [height, width]` of the data set",
            kind="size",
        )
        for (height, width), paths in sorted(sizes.items())
    ]


def storage_problem(sample: Sample, pixels: NDArray[Any], storage: str, normalize: str) -> Problem | None:
    """Return why an image cannot be stored as configured, or None.

    Parameters
    ----------
    pixels : (H, W, C) array of uint8, uint16 or float32
    storage : {'auto', 'uint8', 'float16', 'float32'}
        Must keep all bits of the image: float16 has 11, float32 has 24; ``'auto'`` always does.
    normalize : str
        Normalization method. All but ``minmax`` need the full range of the type, which floats do not have.
    """
    if pixels.dtype != np.uint8 and storage not in ("auto", "float32"):
        expected = "8-bit pixels, because `storage: uint8` keeps the raw values"
        if storage == "float16":
            expected = "8-bit pixels, because `storage: float16` keeps 11 bits of a number and merges finer levels"
        return Problem(sample.image, f"{pixels.dtype} pixels", expected, "set `storage: auto`", kind="storage")
    if pixels.dtype == np.float32 and normalize != "minmax":
        return Problem(
            sample.image,
            f"float pixels, which have no full range, but `normalize: {normalize}` needs one",
            "a normalization that fits the image",
            "set `normalize: minmax`",
            kind="storage",
        )
    return None
