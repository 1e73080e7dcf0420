"""Value ranges of images: whether a normalization squeezes an image, and whether it is like the training images."""

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import plural
from pipeline.core.options import Options
from pipeline.raw.decode.image import full_range
from pipeline.raw.recipes import NormalizeMethod

NARROW = 0.05
"""Part of the range that the central 99 % of the values of an image should cover at least."""

Histograms = list[tuple[NDArray[Any], NDArray[np.int64]]]

_CENTRAL = (0.005, 0.995)  # quantiles
_SAMPLED_VALUES = 2**18  # values of a 16-bit or float image from which quantiles are computed
_NOISE_CORRELATION = 0.5  # neighbouring pixels of noise correlate less, those of a scene more
_COMMON_SHARE = 0.1  # part of the images that must be narrow under a method with a fixed range
_UNUSED_BITS_TOLERANCE = 2
_SPREAD_FACTOR = 8.0
_MEAN_MARGIN = 1 / 3  # part of the range of the training values
_EXAMPLES = 3


class ImageValues(Options):
    """Types and normalized values of some images, as the network gets them.

    Parameters
    ----------
    dtypes : tuple of str
        Sorted types of the raw images: ``'uint8'``, ``'uint16'``, ``'float32'``.
    unused_bits : (int, int), optional
        Fewest and most bits above the highest value of an image that its type has and the image does not use: 4 for
        12-bit values in uint16. None where the range of the type does not matter (``minmax``) or there are only blank
        images.
    low, high : float
        Lowest 0.5th and highest 99.5th percentile of the normalized values of an image, over all its channels.
    mean : float
        Mean of the normalized values of all images.
    means : (float, float), optional
        Lowest and highest mean of an image that is not blank.
    spreads : (float, float), optional
        Smallest and largest distance between the two percentiles of an image that is not blank.
    images : int
        Number of images.
    """

    dtypes: tuple[str, ...]
    unused_bits: tuple[int, int] | None = None
    low: float
    mean: float
    high: float
    means: tuple[float, float] | None = None
    spreads: tuple[float, float] | None = None
    images: int = 1


def image_values(
    pixels: NDArray[Any],
    scale: NDArray[np.float32],
    offset: NDArray[np.float32],
    method: NormalizeMethod,
    histograms: Histograms | None = None,
) -> ImageValues:
    """Describe one image: all values of 8 bits, or about 2**18 values of 16 bits or floats.

    Parameters
    ----------
    pixels : (H, W, C) array of uint8, uint16 or float32
        As decoded and resized, before the normalization.
    scale, offset : (C,) array of float32
        The normalization: ``image = pixels * scale + offset``.
    method : {'minmax', 'unit', 'symmetric', 'standard'}
    histograms : list, optional
        `value_histograms` of the pixels, if they were computed already.
    """
    histograms = value_histograms(pixels) if histograms is None else histograms
    normalized = np.concatenate([values * a + b for (values, _), a, b in zip(histograms, scale, offset, strict=True)])
    counts = np.concatenate([counts for _, counts in histograms])
    order = np.argsort(normalized, kind="stable")
    low, high = _central(normalized[order], counts[order])
    mean = float(np.average(normalized, weights=counts))
    highest = max(values[-1] for values, _ in histograms)
    blank = highest == min(values[0] for values, _ in histograms)
    unused = None
    if method != "minmax" and not blank:
        unused = full_range(pixels).bit_length() - int(highest).bit_length()
    return ImageValues(
        dtypes=(str(pixels.dtype),),
        unused_bits=None if unused is None else (unused, unused),
        low=low,
        mean=mean,
        high=high,
        means=None if blank else (mean, mean),
        spreads=None if blank else (high - low, high - low),
    )


def merge_values(parts: Sequence[ImageValues]) -> ImageValues:
    """Return the description of the images of all parts, of which there must be at least one."""
    images = sum(part.images for part in parts)
    return ImageValues(
        dtypes=tuple(sorted({dtype for part in parts for dtype in part.dtypes})),
        unused_bits=_joint_range([part.unused_bits for part in parts]),
        low=min(part.low for part in parts),
        mean=math.fsum(part.mean * part.images for part in parts) / images,
        high=max(part.high for part in parts),
        means=_joint_range([part.means for part in parts]),
        spreads=_joint_range([part.spreads for part in parts]),
        images=images,
    )


def _joint_range(ranges: Collection[tuple[Any, Any] | None]) -> tuple[Any, Any] | None:
    known = [pair for pair in ranges if pair is not None]
    return (min(low for low, _ in known), max(high for _, high in known)) if known else None


def unlike(values: ImageValues, trained: ImageValues) -> str | None:
    """Return why an image is not like the training images, or None.

    An image is unlike them, where

    - the normalization uses the full range of the type, and the image leaves other bits of its type unused: more than
      one bit more or fewer than any training image; more than two if the training images are of the same type, which
      may be dark; 8-bit images beside 8-bit training images may be as dark as they are;
    - the mean of its normalized values is outside of the range of the means of the training images, by more than the
      width of this range and more than a third of the range of their values;
    - its central 99 % spread over less than an eighth of the smallest spread of a training image, or over more than
      eight times the largest.

    Blank images are like any others.

    Parameters
    ----------
    values : ImageValues
        Of one image.
    trained : ImageValues
        Of the training images, normalized by the same settings.
    """
    dark_8_bit = values.dtypes == ("uint8",) and "uint8" in trained.dtypes
    if values.unused_bits is not None and trained.unused_bits is not None and not dark_8_bit:
        tolerance = _UNUSED_BITS_TOLERANCE - (not set(values.dtypes) <= set(trained.dtypes))
        (unused, _), (fewest, most) = values.unused_bits, trained.unused_bits
        if not fewest - tolerance <= unused <= most + tolerance:
            dtype = values.dtypes[0]
            return (
                f"{np.iinfo(dtype).bits - unused}-bit values in {dtype}, which leave {unused} bits of the type unused; "
                f"the training images ({', '.join(trained.dtypes)}) leave {_range_text(fewest, most)} unused, and the "
                "normalization divides by the full range of the type"
            )
    if values.means is not None and trained.means is not None:
        lowest, highest = trained.means
        margin = max(highest - lowest, _MEAN_MARGIN * (trained.high - trained.low))
        if not lowest - margin <= values.mean <= highest + margin:
            return (
                f"a mean of the normalized values of {values.mean:.3g}; "
                f"the training images have means of {_range_text(lowest, highest)}"
            )
    if values.spreads is not None and trained.spreads is not None:
        spread, (smallest, largest) = values.spreads[0], trained.spreads
        if spread < smallest / _SPREAD_FACTOR or spread > largest * _SPREAD_FACTOR:
            return (
                f"normalized values whose central 99 % spread over {spread:.2g}; "
                f"those of the training images spread over {_range_text(smallest, largest)}"
            )
    return None


def _range_text(low: float, high: float) -> str:
    return f"{low:.3g}" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g} to {high:.3g}"


def narrow_range(pixels: NDArray[Any], method: NormalizeMethod, histograms: Histograms | None = None) -> str | None:
    """Return what is wrong if the central 99 % of the values cover less than 5 % of the range of the normalization.

    The range that is mapped to the output range is that of the image for ``minmax``, and the full range of the type for
    the other methods. The central values are those between the 0.5th and the 99.5th percentile of a channel; the range
    from the lowest to the highest of all channels counts. Not narrow are

    - blank images, and others whose central values are all equal;
    - few objects on an even background: if at least half of the values of a channel are equal, the percentiles are
      those of the other values, and the range includes the background;
    - under ``minmax``, few objects on a dark background of noise: if the values beyond the central ones form objects
      that a 3x3 median keeps (no single pixels or lines), and the neighbours among the central values do not correlate
      by more than 0.5, as those of a scene do.

    Parameters
    ----------
    pixels : (H, W, C) array of uint8, uint16 or float32
    method : {'minmax', 'unit', 'symmetric', 'standard'}
    histograms : list, optional
        `value_histograms` of the pixels, if they were computed already.
    """
    histograms = value_histograms(pixels) if histograms is None else histograms
    if method == "minmax":
        bottom = float(min(values[0] for values, _ in histograms))
        top = float(max(values[-1] for values, _ in histograms))
    else:
        bottom, top = 0.0, float(full_range(pixels))
    low, high = _central_range(histograms)
    if low == high or high - low >= NARROW * (top - bottom):
        return None
    if method == "minmax" and _shows_objects(pixels, low, high):
        return None
    return (
        f"99 % of the values are from {low:.6g} to {high:.6g}, {(high - low) / (top - bottom):.2%} of the range from "
        f"{bottom:.6g} to {top:.6g} that `normalize: {method}` maps to the range of the network's input"
    )


def narrow_range_warning(
    narrow: Mapping[str, str], image_count: int, method: NormalizeMethod
) -> tuple[str, str, str] | None:
    """Return what was found, expected and the remedy for the narrow images of a data set, or None.

    A method with a fixed range shows single dark or even images as what they are. For these methods at least a tenth of
    the images must be narrow, which is a matter of the files' bit depth.

    Parameters
    ----------
    narrow : mapping of str to str
        Path of each narrow image, and the text of `narrow_range`.
    image_count : int
        Number of all images.
    """
    if not narrow or (method != "minmax" and len(narrow) < _COMMON_SHARE * image_count):
        return None
    if method == "minmax":
        remedy = "single pixels far from all others set the range: repair or clip them in the files"
    else:
        remedy = "the files use a small part of the range of their type: rescale them, or set `normalize: minmax`"
    examples = "; ".join(f"{path}: {text}" for path, text in islice(narrow.items(), _EXAMPLES))
    more = "; ..." if len(narrow) > _EXAMPLES else ""
    return (
        f"{len(narrow)} of {plural(image_count, 'image')}, almost constant for the network: {examples}{more}",
        f"99 % of the values of an image over at least {NARROW:.0%} of the range",
        remedy,
    )


def value_histograms(pixels: NDArray[Any]) -> Histograms:
    """Return the sorted values of each channel and their numbers.

    Those of 16-bit and float images are from every k-th row and column, with the lowest and the highest value.
    """
    if pixels.dtype == np.uint8:
        contiguous = np.ascontiguousarray(pixels)
        counts = [
            cv2.calcHist([contiguous], [channel], None, [256], [0, 256]).ravel().astype(np.int64)
            for channel in range(pixels.shape[2])
        ]
        return [(np.flatnonzero(count), count[count > 0]) for count in counts]
    step = math.ceil(math.sqrt(pixels.size / _SAMPLED_VALUES))
    return [
        np.unique(np.append(plane[::step, ::step], [plane.min(), plane.max()]).astype(plane.dtype), return_counts=True)
        for plane in np.moveaxis(pixels, -1, 0)
    ]


def _central(values: NDArray[Any], counts: NDArray[np.int64]) -> tuple[float, float]:
    """Return the 0.5th and the 99.5th percentile of sorted values with their numbers."""
    sums = np.cumsum(counts)
    low, high = values[np.searchsorted(sums, np.multiply(_CENTRAL, sums[-1]))]
    return float(low), float(high)


def _central_range(histograms: Histograms) -> tuple[float, float]:
    """Return the lowest 0.5th and the highest 99.5th percentile of the channels, with even backgrounds left out."""
    ends: list[float] = []
    for values, counts in histograms:
        commonest = int(counts.argmax())
        if 2 * counts[commonest] >= counts.sum():
            ends.append(float(values[commonest]))
            values, counts = np.delete(values, commonest), np.delete(counts, commonest)
        if len(values):
            ends.extend(_central(values, counts))
    return min(ends), max(ends)


def _shows_objects(pixels: NDArray[Any], low: float, high: float) -> bool:
    """Return whether the values beyond the central ones form objects, and the central ones are noise."""
    filtered = cv2.medianBlur(np.ascontiguousarray(pixels), 3)
    if high - low >= NARROW * (float(filtered.max()) - float(filtered.min())):
        return False
    rows = pixels[:: math.ceil(pixels.size / _SAMPLED_VALUES)]
    central = np.clip(rows.astype(np.float64), low, high)
    central -= central.mean(axis=(0, 1))
    covariance = float((central[:, 1:] * central[:, :-1]).mean())
    return covariance <= _NOISE_CORRELATION * float((central**2).mean())
