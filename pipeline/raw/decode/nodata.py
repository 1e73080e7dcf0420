"""Pixels without data: the NoData value of GDAL and the transparency mask of a TIFF file."""

import re
from typing import Any, NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray

from pipeline.core.errors import plural
from pipeline.raw.decode.containers import UnusableError

_METADATA, _NODATA = 42112, 42113  # GDAL's tags
_BAND_VALUES = re.compile(r'<Item\s+name="NODATA_VALUES"[^>]*>([^<]*)</Item>')
_ROUNDING = 4  # a float equals the NoData value if it differs by at most so many steps of 32-bit floats


class Missing(NamedTuple):
    """The pixels of an image that have no data, and what says so.

    Parameters
    ----------
    pixels : (H, W) array of bool
    reason : str
    unset : str
        How to remove that mark from the file.
    is_value : bool
        Whether the values of the pixels are that mark.
    """

    pixels: NDArray[np.bool_]
    reason: str
    unset: str
    is_value: bool = True

    def refusal(self) -> UnusableError:
        """Return the error for an image with such pixels."""
        if self.pixels.all():
            return UnusableError(self._found(), "pixels with data", f"leave the file out, or {self.unset}")
        return UnusableError(
            self._found(),
            "data in every pixel",
            f"set `nodata: ignore` in the data set, so that these pixels count nowhere; if their values are data, "
            f"{self.unset}",
        )

    def refusal_in_class_mask(self) -> UnusableError:
        """Return the error for a mask in which a class, such as background, has the NoData value."""
        return UnusableError(
            f"{self._found()}, which is also the value of a class",
            "a mask in which no class has the NoData value",
            f"{self.unset}; if some of these pixels are to be ignored, give them another value and list it under "
            "`ignore`",
        )

    def refusal_in_soft_mask(self) -> UnusableError:
        """Return the error for a soft mask with such pixels."""
        return UnusableError(self._found(), "a probability in every pixel", self.unset)

    def _found(self) -> str:
        count = int(np.count_nonzero(self.pixels))
        return f"{plural(count, 'pixel')} ({count / self.pixels.size:.2%}) without data: {self.reason}"


def find_missing(page: Any, first: Any, pixels: NDArray[Any]) -> Missing | None:  # noqa: ANN401 - pages of tifffile
    """Find the pixels with the NoData value of a page; None if there are none.

    In images of integers a pixel has no data if all its bands have the NoData value, because 0 or 255 in one band is an
    ordinary colour; in images of floats if any band has it.

    Parameters
    ----------
    page, first : tifffile.TiffPage
        The page and the first page of the file, whose NoData value counts for pages without.
    pixels : (H, W) or (H, W, C) array
        Values as stored: palette indices, not colours.
    """
    if not any(code in tagged.tags for tagged in (page, first) for code in (_NODATA, _METADATA)):
        return None
    texts = [_text(page, _NODATA) or _text(first, _NODATA)]
    source = f"the NoData value (GDAL's tag {_NODATA})"
    if not texts[0]:
        bands = _BAND_VALUES.search(_text(page, _METADATA) or _text(first, _METADATA))
        texts = bands.group(1).split() if bands else []
        source = f"NODATA_VALUES in GDAL's tag {_METADATA}"
    if not texts:
        return None
    try:
        values = [float(text.replace(",", ".")) for text in texts]
    except ValueError as error:
        raise UnusableError(
            f"{source} is {' '.join(texts)!r}",
            "a number, to find the pixels without data",
            "write the number (`gdal_edit.py -a_nodata VALUE FILE`), or remove it (`gdal_edit.py -unsetnodata FILE`)",
        ) from error
    planes = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if page.extrasamples and page.extrasamples[-1] in (
        tifffile.EXTRASAMPLE.ASSOCALPHA,
        tifffile.EXTRASAMPLE.UNASSALPHA,
    ):
        planes = planes[:, :, :-1]
    if len(values) not in (1, planes.shape[2]):
        return None
    values = values * planes.shape[2] if len(values) == 1 else values
    equal = [_equals(planes[:, :, index], value) for index, value in enumerate(values)]
    combine = np.logical_and if pixels.dtype.kind in "iu" or len(texts) > 1 else np.logical_or
    missing = combine.reduce(equal)
    unset = "remove the tag (`gdal_edit.py -unsetnodata FILE`)"
    return Missing(missing, f"{source} is {' '.join(texts)}", unset) if missing.any() else None


def outside_mask(mask: NDArray[Any], pixels: NDArray[Any]) -> Missing | None:
    """Find the pixels that the transparency mask of a TIFF file leaves out; None if there are none."""
    if mask.shape != pixels.shape[:2]:
        return None
    missing = mask == 0
    unset = "save it without the mask (`gdal_translate -mask none FILE new.tif`)"
    reason = "the transparency mask of the TIFF leaves them out"
    return Missing(missing, reason, unset, is_value=False) if missing.any() else None


def _text(page: Any, code: int) -> str:  # noqa: ANN401
    return str(page.tags.valueof(code, "")).strip(" \t\r\n\0")


def _equals(plane: NDArray[Any], value: float) -> NDArray[np.bool_]:
    if plane.dtype.kind not in "fiu":  # bits, complex numbers
        return np.asarray(plane == value)
    if plane.dtype.kind != "f":
        is_possible = value.is_integer() and np.iinfo(plane.dtype).min <= value <= np.iinfo(plane.dtype).max
        return np.asarray(plane == int(value)) if is_possible else np.zeros(plane.shape, dtype=bool)
    if np.isnan(value):
        return np.asarray(np.isnan(plane))
    if np.isinf(value):
        return np.asarray(plane == value)
    # programs write the value with 6 to 17 digits, and some round it to 32 bits
    limits, step = np.finfo(plane.dtype), float(np.spacing(np.float32(min(abs(value), 3.4e38))))
    low, high = (
        np.clip(value + sign * _ROUNDING * step, limits.min, limits.max).astype(plane.dtype) for sign in (-1, 1)
    )
    return np.asarray((plane >= low) & (plane <= high))
