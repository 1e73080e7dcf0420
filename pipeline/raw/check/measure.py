"""Measure one sample for the check of a data set; only a few numbers are kept in memory."""

import hashlib
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.counts import VOID
from pipeline.core.errors import PipelineError, Problem
from pipeline.images.colours import VOID_COLOUR
from pipeline.images.figures import RgbImage, for_display
from pipeline.raw.check.near_duplicates import GreyThumbnail, grey_thumbnail
from pipeline.raw.dataset import RawDataset, size_problem
from pipeline.raw.decode.headers import Header, read_header
from pipeline.raw.decode.image import full_range
from pipeline.raw.decode.masks import ClassMask
from pipeline.raw.decode.palette import Colour
from pipeline.raw.inspect import Decoded, read_sample, storage_problem
from pipeline.raw.recipes import CheckRecipe
from pipeline.raw.samples import Sample
from pipeline.raw.value_range import narrow_range

THUMBNAIL = 220
"""Maximum height and width of an image of the contact sheet, in pixels."""

_TINT = 0.3  # opacity of class colours
_STRIPES = 6  # period of the stripes of ignored pixels, in pixels
_BETWEEN_STRIPES = VOID - 1  # no class has this index


@dataclass(frozen=True)
class Measurement:
    """Measurements of one sample.

    Parameters
    ----------
    split : str, optional
        None if the sample could not be assigned to a split.
    problems : tuple of Problem
        If there are any, all following fields have their defaults.
    storage_problem : Problem, optional
        Why the image cannot be stored as configured, although it can be read.
    narrow : str, optional
        Why the image is almost constant for the network; see `pipeline.raw.value_range.narrow_range`.
    highest : float, optional
        Maximum of a 16-bit image, as a fraction of the range of its type.
    content : str
        SHA-256 of shape, type and pixels of the decoded image.
    grey_thumbnail : (16, 16) array of float16, optional
        See `pipeline.raw.check.near_duplicates`.
    blank : bool
        Whether all pixels of the image are equal.
    size : (int, int)
        Height and width in pixels.
    orientations : str, optional
        How image and masks are turned differently by their orientation tags.
    mask_pixels : tuple of int, optional
        Number of mask pixels of each class, then of ignored pixels. None without mask.
    thumbnail : (H, W, 3) array of uint8, optional
    """

    sample: Sample
    split: str | None
    problems: tuple[Problem, ...] = ()
    storage_problem: Problem | None = None
    narrow: str | None = None
    highest: float | None = None
    content: str = ""
    grey_thumbnail: GreyThumbnail | None = None
    blank: bool = False
    size: tuple[int, int] = (0, 0)
    image: Header | None = None
    mask: Header | None = None
    orientations: str | None = None
    mask_pixels: tuple[int, ...] | None = None
    thumbnail: RgbImage | None = None


def measure(
    dataset: RawDataset, sample: Sample, split: str | None, recipe: CheckRecipe, with_thumbnail: bool
) -> Measurement:
    """Read and measure one sample, including the second observer's mask and on request its thumbnail."""
    try:
        decoded = read_sample(dataset, sample, recipe.channels)
    except PipelineError as error:
        return Measurement(sample, split, error.problems)
    if problems := _observer_problems(dataset, sample, decoded.pixels.shape[:2]):
        return Measurement(sample, split, problems)
    pixels = decoded.pixels
    classes = None if decoded.mask is None else dataset.as_classes(decoded.mask)
    problem = storage_problem(sample, pixels, recipe.storage, recipe.normalize)
    return Measurement(
        sample,
        split,
        storage_problem=problem,
        narrow=None if problem else narrow_range(pixels, recipe.normalize),
        highest=float(pixels.max()) / full_range(pixels) if pixels.dtype == np.uint16 else None,
        content=_digest(pixels),
        grey_thumbnail=grey_thumbnail(for_display(pixels)),
        blank=bool((pixels == pixels[:1, :1]).all()),
        size=(int(pixels.shape[0]), int(pixels.shape[1])),
        image=read_header(decoded.contents[sample.image]),
        mask=None if sample.mask is None else read_header(decoded.contents[sample.mask]),
        orientations=decoded.orientations,
        mask_pixels=None if classes is None else _count_pixels(classes, len(dataset.classes)),
        thumbnail=_thumbnail(decoded, classes, dataset.colours, dataset.foreground) if with_thumbnail else None,
    )


def _observer_problems(dataset: RawDataset, sample: Sample, size: tuple[int, ...]) -> tuple[Problem, ...]:
    if sample.observer is None:
        return ()
    try:
        problem = size_problem(sample, sample.observer, dataset.read_observer(sample), (size[0], size[1]))
    except PipelineError as error:
        return error.problems
    return () if problem is None else (problem,)


def _digest(pixels: NDArray[Any]) -> str:
    digest = hashlib.sha256(f"{pixels.shape} {pixels.dtype}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def _count_pixels(classes: ClassMask, class_count: int) -> tuple[int, ...]:
    """Count the pixels of each class, and last the ignored pixels."""
    counts = np.bincount(classes.ravel(), minlength=256)
    return (*counts[:class_count].tolist(), int(counts[VOID]))


def _thumbnail(decoded: Decoded, classes: ClassMask | None, colours: tuple[Colour, ...], foreground: slice) -> RgbImage:
    """Resize an image to `THUMBNAIL`, tint its foreground classes, stripe ignored pixels, and outline both."""
    height, width = decoded.pixels.shape[:2]
    factor = THUMBNAIL / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    display = for_display(decoded.pixels)
    image = cv2.cvtColor(display, cv2.COLOR_GRAY2RGB) if display.shape[2] == 1 else display
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST)
    if classes is None:
        return np.asarray(image)
    small = cv2.resize(classes, size, interpolation=cv2.INTER_NEAREST_EXACT)
    y, x = np.ogrid[: small.shape[0], : small.shape[1]]
    small[(small == VOID) & ((x + y) % _STRIPES >= _STRIPES // 2)] = _BETWEEN_STRIPES
    for index, colour in (*list(enumerate(colours))[foreground], (VOID, VOID_COLOUR)):
        # an outline alone does not show which side is the class
        inside, tint = small == index, _TINT if index != VOID else 1.0
        image[inside] = np.rint((1 - tint) * image[inside] + tint * np.array(colour)).astype(np.uint8)
        outlines, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(image, outlines, -1, colour, 1)
    return np.asarray(image)
