"""Convert mask pixels to classes by a declared map from grey values or colours to class indices."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.counts import VOID
from pipeline.core.errors import Problem, RawDataError, plural
from pipeline.raw.decode.containers import UnusableError
from pipeline.raw.decode.image import DEFAULT_OPTIONS, as_channels, full_range, read_file, to_8_bit
from pipeline.raw.decode.masks import ClassMask
from pipeline.raw.decode.nodata import Missing
from pipeline.raw.decode.options import DecodeOptions
from pipeline.raw.decode.palette import (
    Colour,
    MaskValue,
    as_colour,
    colour_distance,
    format_mask_value,
    overlapping_values,
)
from pipeline.raw.decode.unsupported import numbers_objects

_UNDECLARED = 254  # no class has this index

MAX_CLASSES = 254
"""Class indices are below the marker of undeclared values (254) and `VOID` (255)."""

_MAX_LISTED = 8  # undeclared values that a message lists
_MAX_LISTED_OF_MANY = 3  # the same if there are more than `_MAX_MASK_VALUES`
_MAX_MASK_VALUES = 64  # distinct values; a class mask has at most as many, an image has more
_NOT_A_MASK = (
    "so many values suggest an image, or a mask that was smoothed or saved as JPEG: check that `images` and `masks` "
    "are not swapped, and save masks as PNG without smoothing"
)
_OBJECTS = (
    "the mask seems to number its objects (instances): save 255 where the number is above 0, and 0 elsewhere; touching "
    "objects then become one"
)
_MIXED_COLOURS = (
    "the colours lie between declared ones: the mask was drawn with antialiasing, or resized with interpolation. Draw "
    "it without, or resize the original with nearest neighbour; to repair it, give each pixel its nearest declared "
    "colour"
)
_BETWEEN = 3  # largest distance of a mixed colour from the line between two declared ones
_MAX_COLOUR_OF_GREY = 16  # largest difference of the channels of a grey mask that was saved in colour, such as JPEG
_SOFT_REMEDY = ", or set `mask_kind: soft` if the mask holds probabilities"


@dataclass(frozen=True)
class LabelMap:
    """Map from mask pixels to class indices. Undeclared values are refused, never rounded.

    Parameters
    ----------
    meaning : mapping of int or (int, int, int) to int
        Grey value 0..255 or RGB colour to class index (0..253), or to `VOID` for pixels to ignore. If there is any
        colour, masks are read as RGB, and a grey value means three equal channels.
    tolerance : int
        A pixel belongs to a key if no channel differs by more than this.
    channel : {'grey', 'blue'}
        The channel of the mask that is looked up.
    inverted : bool
        Whether classes 0 and 1 are swapped; soft masks become 255 - x.
    editable : bool
        Whether the configuration can declare more values (``labels``); error messages then suggest it.
    """

    meaning: Mapping[MaskValue, int]
    tolerance: int = 0
    channel: str = "grey"
    inverted: bool = False
    editable: bool = False

    def read(
        self,
        path: Path | str,
        data: bytes | None = None,
        page: int | None = None,
        options: DecodeOptions = DEFAULT_OPTIONS,
        missing_class: int | None = None,
    ) -> ClassMask:
        """Read a mask file as (H, W) class indices, `VOID` for pixels to ignore and for ignored NoData pixels.

        16-bit masks may use the full range (0 and 65535) or contain 8-bit values. See `read_file`.

        Parameters
        ----------
        missing_class : int, optional
            The class that pixels with the NoData value may have: outside, in fields of view.

        Raises
        ------
        RawDataError
            If the file cannot be decoded, a class has its NoData value, or it contains undeclared values; lists these
            with their pixel counts.
        """

        def refuse(missing: Missing, pixels: NDArray[Any]) -> UnusableError | None:
            if not missing.is_value:
                return None
            row, column = np.unravel_index(np.argmax(missing.pixels), missing.pixels.shape)
            missing_pixel = pixels[row : row + 1, column : column + 1]
            allowed = (VOID, _UNDECLARED, missing_class)
            return missing.refusal_in_class_mask() if self._class_of(missing_pixel, path) not in allowed else None

        decoded = read_file(path, data, page, options, refuse)
        classes = self.classify(decoded.pixels, path)
        if decoded.valid is not None:
            classes[~decoded.valid] = VOID
        return classes

    def read_soft(
        self,
        path: Path | str,
        data: bytes | None = None,
        page: int | None = None,
        options: DecodeOptions = DEFAULT_OPTIONS,
    ) -> NDArray[np.uint8]:
        """Read a soft mask as (H, W) probabilities of 8 bits: 255 means 1. It has no value for ignored pixels.

        Raises
        ------
        RawDataError
            If the file cannot be decoded, has other values or colours, no value above 1, or NoData pixels.
        """
        pixels = read_file(path, data, page, options, lambda missing, _: missing.refusal_in_soft_mask()).pixels
        plane = to_8_bit(as_channels(pixels, "grey", path)[:, :, 0], path)
        expected = "probabilities as grey values: 0 is certain background, 255 is probability 1"
        if _colour_difference(pixels) > _MAX_COLOUR_OF_GREY:
            remedy = (
                "check that `images` and `masks` are not swapped; save masks as 8-bit grey files without a colour map"
            )
            raise RawDataError(Problem(str(path), "a mask with colours", expected, remedy, kind="mask-values"))
        if plane.max() == 1:
            remedy = (
                "multiply the values by 255, or set `mask_kind: index` and `labels: {0: background, 1: foreground}`"
            )
            raise RawDataError(Problem(str(path), "only the values 0 and 1", expected, remedy, kind="mask-values"))
        return np.uint8(255) - plane if self.inverted else plane

    def classify(self, pixels: NDArray[Any], path: Path | str) -> ClassMask:
        """Convert decoded mask pixels to class indices.

        Parameters
        ----------
        pixels : (H, W) or (H, W, C) array of uint8 or uint16
            As returned by `decode`.
        path : Path or str
            For messages only.

        Returns
        -------
        (H, W) array of uint8
        """
        keys: NDArray[Any]
        if self._coloured:
            keys = _pack(to_8_bit(as_channels(pixels, "rgb", path), path, keep_small=True))
            classes: ClassMask = np.take(self._table, keys)
        elif self.channel != "blue" and _has_colours(pixels):
            colours = to_8_bit(as_channels(pixels, "rgb", path), path, keep_small=True)
            luma = to_8_bit(as_channels(pixels, "grey", path)[:, :, 0], path, keep_small=True)
            keys = _pack(colours)
            classes = self._classify_nearly_grey(colours, luma)
        else:
            blue = self.channel == "blue"
            plane = as_channels(pixels, "rgb" if blue else "grey", path)[:, :, 2 if blue else 0]
            keys = to_8_bit(np.ascontiguousarray(plane), path, keep_small=True)
            classes = np.asarray(cv2.LUT(keys, self._table))
        unknown = classes == _UNDECLARED
        if unknown.any():
            raise RawDataError(self._undeclared_problem(keys[unknown], pixels, path))
        return classes

    def _classify_nearly_grey(self, colours: NDArray[np.uint8], luma: NDArray[np.uint8]) -> ClassMask:
        """Look up grey values in a mask with colours.

        A pixel has a class if all its channels have it. If none of them is declared and they differ little, its luma
        counts, as in palettes with nearly grey colours.
        """
        classes: ClassMask = np.asarray(cv2.LUT(luma, self._table), dtype=np.uint8)
        of_channels = np.asarray(cv2.LUT(colours, self._table))
        agree = (of_channels == classes[:, :, None]).all(axis=2)
        undeclared = (of_channels == _UNDECLARED).all(axis=2)
        nearly_grey = colours.max(axis=2) - colours.min(axis=2) <= _MAX_COLOUR_OF_GREY
        classes[~agree & ~(undeclared & nearly_grey)] = _UNDECLARED
        return classes

    def _class_of(self, pixel: NDArray[Any], path: Path | str) -> int:
        """Return the class of one pixel, (1, 1) or (1, 1, C) of any type; `_UNDECLARED` if it has none."""
        if pixel.dtype.kind in "iu" and 0 <= pixel.min() <= pixel.max() <= 255:
            pixel = pixel.astype(np.uint8)
        try:
            return int(self.classify(pixel, path)[0, 0])
        except RawDataError:
            return _UNDECLARED

    @cached_property
    def _coloured(self) -> bool:
        return any(not isinstance(key, int) for key in self.meaning)

    @cached_property
    def _table(self) -> NDArray[np.uint8]:
        """Lookup table: class of every grey value (256,), or of every packed colour (2**24,)."""
        shape = (256, 256, 256) if self._coloured else (256,)
        table = np.full(shape, _UNDECLARED, dtype=np.uint8)
        for key, class_index in self.meaning.items():
            centre = as_colour(key)[: len(shape)]
            neighbourhood = tuple(slice(max(0, value - self.tolerance), value + self.tolerance + 1) for value in centre)
            table[neighbourhood] = 1 - class_index if self.inverted and class_index in (0, 1) else class_index
        return table.ravel()

    def _undeclared_problem(self, unknown: NDArray[Any], pixels: NDArray[Any], path: Path | str) -> Problem:
        numbers, counts = np.unique(unknown, return_counts=True)
        pixel_counts: dict[MaskValue, int] = {
            _unpack(number) if unknown.dtype == np.int32 else number: count  # packed colours, or grey values
            for number, count in zip(numbers.tolist(), counts.tolist(), strict=True)
        }
        limit = _MAX_LISTED if len(pixel_counts) <= _MAX_MASK_VALUES else _MAX_LISTED_OF_MANY
        keys = sorted(pixel_counts, key=lambda key: -pixel_counts[key] if isinstance(key, tuple) else key)
        listed = ", ".join(f"{format_mask_value(key)} ({plural(pixel_counts[key], 'pixel')})" for key in keys[:limit])
        more = f" and {plural(len(pixel_counts) - limit, 'more value')}" if len(pixel_counts) > limit else ""
        declared = [
            f"{format_mask_value(key)} ({'ignored' if class_index == VOID else f'class {class_index}'})"
            for key, class_index in sorted(self.meaning.items(), key=lambda item: as_colour(item[0]))
        ]
        more_declared = f" and {len(declared) - 16} more" if len(declared) > 16 else ""
        tolerance_text = f", each with a tolerance of {self.tolerance}" if self.tolerance else ""
        return Problem(
            str(path),
            f"mask values {listed}{more}",
            f"only {', '.join(declared[:16])}{more_declared}{tolerance_text}",
            self._remedy(list(pixel_counts), pixels),
            kind="mask-values",
        )

    def _remedy(self, unknown: list[MaskValue], pixels: NDArray[Any]) -> str:
        """Suggest a remedy that fits the undeclared values."""
        if not self._coloured and not _has_colours(pixels) and numbers_objects(_grey(pixels)):
            return _OBJECTS
        if self.channel == "blue":
            return "save the mask with class indices as values, without smoothing, not as JPEG"
        if not self.editable:
            return (
                "save the mask as 8-bit PNG or GIF with two values, black background and white foreground, not smoothed"
            )
        too_many = len(unknown) > _MAX_MASK_VALUES
        if not self._coloured and _has_colours(pixels):
            colours = np.unique(_pack(pixels[:, :, :3].astype(np.uint8))).tolist()
            if len(colours) > _MAX_MASK_VALUES:
                return _NOT_A_MASK
            examples = ", ".join(f'"{format_mask_value(_unpack(number))}"' for number in colours[:3])
            return f"the mask is coloured: declare its colours under `labels`, such as {examples}"
        farthest = max(min(colour_distance(key, declared) for declared in self.meaning) for key in unknown)
        # one or two grey values near black may be a mask of {0, 1}; colours near declared ones come from smoothing
        if farthest <= 32 and (self._coloured or len(unknown) > 2) and not overlapping_values(self.meaning, farthest):
            return f"they are close to declared values: set `tolerance: {farthest}`, or save the mask without smoothing"
        if self._coloured and _has_colours(pixels) and self._are_mixed(unknown):
            return _MIXED_COLOURS
        two_classes = set(self.meaning.values()) <= {0, 1} and not self._coloured
        if too_many:
            return f"{_NOT_A_MASK}{_SOFT_REMEDY if two_classes else ''}"
        if self._coloured and not _has_colours(pixels):
            return (
                "the mask is grey, while `labels` has colours: save it in colour, exclude the sample (`exclude`), "
                "or declare its values under `labels` or `ignore`"
            )
        soft_remedy = _SOFT_REMEDY if two_classes and len(unknown) > _MAX_LISTED else ""
        return f"declare these values under `labels`, or list them under `ignore`{soft_remedy}"

    def _are_mixed(self, unknown: list[MaskValue]) -> bool:
        """Return whether most of the undeclared colours lie between two declared ones."""
        declared = np.array([as_colour(key) for key in self.meaning], dtype=np.float64)
        colours = np.array([as_colour(key) for key in unknown[:_MAX_MASK_VALUES]], dtype=np.float64)
        starts, ends = (declared[indices] for indices in np.triu_indices(len(declared), 1))
        lines = ends - starts
        offsets = colours[:, None] - starts
        places = (offsets * lines).sum(axis=2) / np.maximum((lines**2).sum(axis=1), 1)
        distances = np.abs(offsets - np.clip(places, 0, 1)[:, :, None] * lines).max(axis=2)
        return bool(distances.size) and float((distances.min(axis=1) <= _BETWEEN).mean()) >= 0.8


@dataclass(frozen=True)
class Labels:
    """Classes and label maps of the masks of a data set.

    Parameters
    ----------
    classes : tuple of str
        Class names, background first.
    colours : tuple of (int, int, int)
        Display colour of each class, RGB 0..255.
    label_map : LabelMap
        How masks are read.
    observer_label_map : LabelMap, optional
        How the second observer's masks are read.
    rle_shape : (int, int), optional
        Height and width of run-length coded masks.
    """

    classes: tuple[str, ...]
    colours: tuple[Colour, ...]
    label_map: LabelMap
    observer_label_map: LabelMap | None = None
    rle_shape: tuple[int, int] | None = None


BLACK_AND_WHITE = LabelMap({0: 0, 255: 1})
"""Black (0) is background, white (255) is foreground; all other values are refused."""


def _pack(pixels: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Pack the colours of a (H, W, 3) image into (H, W) numbers: red * 2**16 + green * 2**8 + blue."""
    packed = pixels[:, :, 0].astype(np.int32)
    for channel in (1, 2):
        packed <<= 8
        packed |= pixels[:, :, channel]
    return packed


def _unpack(number: int) -> Colour:
    return number >> 16, number >> 8 & 255, number & 255


def _grey(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    plane = pixels if pixels.ndim == 2 else pixels[:, :, 0]
    return np.asarray(np.minimum(plane, 255).astype(np.uint8))


def _colour_difference(pixels: NDArray[Any]) -> float:
    """Return the largest difference of two channels of a pixel of uint8 or uint16, as a part of 255."""
    if not _has_colours(pixels):
        return 0.0
    colours = pixels[:, :, :3].astype(np.int32)
    return float((colours.max(axis=2) - colours.min(axis=2)).max()) * 255 / full_range(pixels)


def _has_colours(pixels: NDArray[Any]) -> bool:
    return pixels.ndim == 3 and pixels.shape[2] >= 3 and bool((pixels[:, :, :1] != pixels[:, :, 1:3]).any())
