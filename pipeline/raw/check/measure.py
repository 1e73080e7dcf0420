"""What the check of a data set keeps of one sample: a few numbers, so that many samples fit into the memory."""

import hashlib
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.counts import VOID
from pipeline.core.errors import PipelineError, Problem
from pipeline.images.figures import RgbImage, for_display
from pipeline.raw.check.alike import Tiny, tiny
from pipeline.raw.dataset import RawDataset, same_size
from pipeline.raw.decode.headers import Header, read_header
from pipeline.raw.decode.image import full_range
from pipeline.raw.decode.masks import ClassMask
from pipeline.raw.decode.palette import Colour
from pipeline.raw.inspect import Decoded, read_sample, refusal
from pipeline.raw.recipes import CheckRecipe
from pipeline.raw.samples import Sample

THUMBNAIL = 220
"""Height and width that an image of the contact sheet fits into."""

_TINT = 0.3  # of a class's colour over the image


@dataclass(frozen=True)
class Measured:
    """What is known of one sample once it was read.

    Parameters
    ----------
    split : str, optional
        None where the sample could not be assigned to one.
    problems : tuple of Problem
        Where there are any, nothing below is known.
    unfit : Problem, optional
        Why the image, which can be read, cannot be stored as configured.
    highest : float, optional
        The brightest value of an image of 16 bits, as a share of the range of its type.
    content : str
        SHA-256 over shape, type and pixels of the decoded image.
    tiny : (16, 16) array of float16, optional
        The image in small and grey; see `pipeline.raw.check.alike`.
    blank : bool
        Whether all pixels of the image are equal.
    size : (int, int)
        Height and width in pixels.
    pixels : tuple of int, optional
        Mask pixels of each class, then those that do not count. None where there is no mask.
    thumbnail : (H, W, 3) array of uint8, optional
    """

    sample: Sample
    split: str | None
    problems: tuple[Problem, ...] = ()
    unfit: Problem | None = None
    highest: float | None = None
    content: str = ""
    tiny: Tiny | None = None
    blank: bool = False
    size: tuple[int, int] = (0, 0)
    image: Header | None = None
    mask: Header | None = None
    pixels: tuple[int, ...] | None = None
    thumbnail: RgbImage | None = None


def measure(
    dataset: RawDataset, sample: Sample, split: str | None, recipe: CheckRecipe, with_thumbnail: bool
) -> Measured:
    """Read one sample, the second observer's mask included; where it is `with_thumbnail`, also draw its thumbnail."""
    try:
        decoded = read_sample(dataset, sample, recipe.channels)
    except PipelineError as error:
        return Measured(sample, split, error.problems)
    if problems := _observer_problems(dataset, sample, decoded.pixels.shape[:2]):
        return Measured(sample, split, problems)
    pixels = decoded.pixels
    classes = None if decoded.mask is None else dataset.as_classes(decoded.mask)
    return Measured(
        sample,
        split,
        unfit=refusal(sample, pixels, recipe.storage, recipe.normalize),
        highest=float(pixels.max()) / full_range(pixels) if pixels.dtype == np.uint16 else None,
        content=_digest(pixels),
        tiny=tiny(for_display(pixels)),
        blank=bool((pixels == pixels[:1, :1]).all()),
        size=(int(pixels.shape[0]), int(pixels.shape[1])),
        image=read_header(decoded.contents[sample.image]),
        mask=None if sample.mask is None else read_header(decoded.contents[sample.mask]),
        pixels=None if classes is None else _count(classes, len(dataset.classes)),
        thumbnail=_thumbnail(decoded, classes, dataset.colours) if with_thumbnail else None,
    )


def _observer_problems(dataset: RawDataset, sample: Sample, size: tuple[int, ...]) -> tuple[Problem, ...]:
    if sample.observer is None:
        return ()
    try:
        problem = same_size(sample, sample.observer, dataset.read_observer(sample), (size[0], size[1]))
    except PipelineError as error:
        return error.problems
    return () if problem is None else (problem,)


def _digest(pixels: NDArray[Any]) -> str:
    whole = hashlib.sha256(f"{pixels.shape} {pixels.dtype}".encode())
    whole.update(np.ascontiguousarray(pixels).data)
    return whole.hexdigest()


def _count(classes: ClassMask, count: int) -> tuple[int, ...]:
    pixels = np.bincount(classes.ravel(), minlength=256)
    return (*pixels[:count].tolist(), int(pixels[VOID]))


def _thumbnail(decoded: Decoded, classes: ClassMask | None, colours: tuple[Colour, ...]) -> RgbImage:
    """Shrink or enlarge an image to fit, tint its classes, and draw their outlines on it."""
    height, width = decoded.pixels.shape[:2]
    factor = THUMBNAIL / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    shown = for_display(decoded.pixels)
    image = cv2.cvtColor(shown, cv2.COLOR_GRAY2RGB) if shown.shape[2] == 1 else shown
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST)
    if classes is None:
        return np.asarray(image)
    small = cv2.resize(classes, size, interpolation=cv2.INTER_NEAREST_EXACT)
    for index, colour in enumerate(colours):
        if index:
            # an outline alone looks the same from both sides: the tint says which side is meant
            inside = small == index
            image[inside] = np.rint((1 - _TINT) * image[inside] + _TINT * np.array(colour)).astype(np.uint8)
            outlines, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(image, outlines, -1, colour, 1)
    return np.asarray(image)
