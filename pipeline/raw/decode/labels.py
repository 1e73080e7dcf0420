"""What mask pixels mean: a declared map from grey values or colours to classes."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.counts import VOID
from pipeline.core.errors import Problem, RawDataError
from pipeline.raw.decode.image import as_channels, read_grey, read_pixels, to_8_bit
from pipeline.raw.decode.masks import ClassMask
from pipeline.raw.decode.palette import Colour, Key, as_colour, distance, overlaps, show_key

_UNDECLARED = 254  # no class has this index

MAX_CLASSES = 254
"""Class indices end before the marker of undeclared values and before `VOID`."""

_LISTED = 8  # undeclared values that a message names
_FEW = 3  # the same where there are very many
_IMAGE = 64  # values; a mask of classes has fewer, an image more
_NO_CLASSES = (
    "so many values make an image, or a mask that was smoothed or saved as JPEG: see that `images` and `masks` are "
    "not swapped, and save masks as PNG without smoothing"
)
_SOFT = ", or set `mask_kind: soft` if the mask holds probabilities"


@dataclass(frozen=True)
class LabelMap:
    """Mask pixels to class indices. What was not declared is refused, never rounded.

    Parameters
    ----------
    meaning : mapping of int or (int, int, int) to int
        Grey value 0..255 or RGB colour to class index (0..253), or to `VOID` for pixels that do not count. Where any
        colour stands, masks are read as colours, and a grey value means its three equal channels.
    tolerance : int
        A pixel has the meaning of a key from which no channel is further away than this.
    channel : {'grey', 'blue'}
        Which plane of the mask grey values are looked up in.
    inverted : bool
        Whether classes 0 and 1 change places; soft masks become 255 - x.
    editable : bool
        Whether the configuration can declare more values (``labels``): messages then say so.
    """

    meaning: Mapping[Key, int]
    tolerance: int = 0
    channel: str = "grey"
    inverted: bool = False
    editable: bool = False

    def read(self, path: Path | str, data: bytes | None = None, page: int | None = None) -> ClassMask:
        """Read a mask file as (H, W) class indices, `VOID` where pixels do not count.

        16-bit masks may use the full range (0 and 65535) or hold 8-bit values as they are. See `read_pixels`.

        Raises
        ------
        RawDataError
            If the file cannot be decoded, or listing the values that were not declared, with their pixel counts.
        """
        return self.classify(read_pixels(path, data, page), path)

    def read_soft(self, path: Path | str, data: bytes | None = None, page: int | None = None) -> NDArray[np.uint8]:
        """Read a soft mask as (H, W) probabilities: 0 is 0, 255 is 1."""
        plane: NDArray[np.uint8] = read_grey(path, data, page)
        return np.uint8(255) - plane if self.inverted else plane

    def classify(self, pixels: NDArray[Any], path: Path | str) -> ClassMask:
        """Replace pixels by the classes they were declared to mean.

        Parameters
        ----------
        pixels : (H, W) or (H, W, C) array of uint8 or uint16
            As `decode` gives them.
        path : Path or str
            For messages only.

        Returns
        -------
        (H, W) array of uint8
        """
        keys: NDArray[Any]
        if self._coloured:
            keys = _pack(to_8_bit(as_channels(pixels, "rgb", path), path, small=True))
            classes: ClassMask = np.take(self._table, keys)
        else:
            blue = self.channel == "blue"
            plane = as_channels(pixels, "rgb" if blue else "grey", path)[:, :, 2 if blue else 0]
            keys = to_8_bit(np.ascontiguousarray(plane), path, small=True)
            classes = np.asarray(cv2.LUT(keys, self._table))
        unknown = classes == _UNDECLARED
        if unknown.any():
            raise RawDataError(self._refusal(keys[unknown], pixels, path))
        return classes

    @cached_property
    def _coloured(self) -> bool:
        return any(not isinstance(key, int) for key in self.meaning)

    @cached_property
    def _table(self) -> NDArray[np.uint8]:
        """Class of every grey value (256,), or of every colour by its packed number (2**24,)."""
        shape = (256, 256, 256) if self._coloured else (256,)
        table = np.full(shape, _UNDECLARED, dtype=np.uint8)
        for key, label in self.meaning.items():
            centre = as_colour(key)[: len(shape)]
            near = tuple(slice(max(0, value - self.tolerance), value + self.tolerance + 1) for value in centre)
            table[near] = 1 - label if self.inverted and label in (0, 1) else label
        return table.ravel()

    def _refusal(self, unknown: NDArray[Any], pixels: NDArray[Any], path: Path | str) -> Problem:
        numbers, counts = np.unique(unknown, return_counts=True)
        found: dict[Key, int] = {
            _unpack(number) if self._coloured else number: count
            for number, count in zip(numbers.tolist(), counts.tolist(), strict=True)
        }
        shown = _LISTED if len(found) <= _IMAGE else _FEW
        most = sorted(found, key=lambda key: -found[key])[:shown] if self._coloured else list(found)[:shown]
        listed = ", ".join(f"{show_key(key)} ({found[key]} pixels)" for key in most)
        more = f" and {len(found) - shown} more values" if len(found) > shown else ""
        said = [
            f"{show_key(key)} ({'ignored' if label == VOID else f'class {label}'})"
            for key, label in sorted(self.meaning.items(), key=lambda item: as_colour(item[0]))
        ]
        within = f", each up to {self.tolerance} away" if self.tolerance else ""
        return Problem(
            str(path),
            f"mask values {listed}{more}",
            "only " + ", ".join(said[:16]) + (f" and {len(said) - 16} more" if len(said) > 16 else "") + within,
            self._remedy(list(found), pixels),
            kind="mask-values",
        )

    def _remedy(self, unknown: list[Key], pixels: NDArray[Any]) -> str:
        """Guess what will mend it, from what the undeclared values look like."""
        if self.channel == "blue":
            return "save the mask with the class index as its value: no smoothing, no JPEG"
        if not self.editable:
            return "save the mask as two-valued 8-bit PNG or GIF: black background, white foreground, no smoothing"
        many = len(unknown) > _IMAGE
        if not self._coloured and _has_colours(pixels):
            colours = np.unique(_pack(pixels[:, :, :3].astype(np.uint8))).tolist()
            if len(colours) > _IMAGE:
                return _NO_CLASSES
            named = ", ".join(f'"{show_key(_unpack(number))}"' for number in colours[:3])
            return f"the mask is coloured: declare its colours under `labels`, such as {named}"
        farthest = max(min(distance(key, known) for known in self.meaning) for key in unknown)
        # two grey values near black may be a whole mask of {0, 1}; colours near declared ones are what smoothing leaves
        if farthest <= 32 and (self._coloured or len(unknown) > 2) and not overlaps(self.meaning, farthest):
            return f"these are near what is declared: set `tolerance: {farthest}`, or save the mask without smoothing"
        two = set(self.meaning.values()) <= {0, 1} and not self._coloured
        if many:
            return f"{_NO_CLASSES}{_SOFT if two else ''}"
        if self._coloured and not _has_colours(pixels):
            return (
                "the mask is grey, while `labels` has colours: save it with its colours, leave the sample out "
                "(`exclude`), or declare its values under `labels` or `ignore`"
            )
        soft = _SOFT if two and len(unknown) > _LISTED else ""
        return f"declare what they mean under `labels`, or put them under `ignore`{soft}"


@dataclass(frozen=True)
class Labels:
    """What a layout knows about its masks.

    Parameters
    ----------
    classes : tuple of str
        Class names, background first.
    colours : tuple of (int, int, int)
        The colour that each class is shown in, RGB 0..255.
    meaning : LabelMap
        How masks are read.
    observer_meaning : LabelMap, optional
        How the second observer's masks are read.
    tile : (int, int), optional
        Height and width of run-length coded masks.
    """

    classes: tuple[str, ...]
    colours: tuple[Colour, ...]
    meaning: LabelMap
    observer_meaning: LabelMap | None = None
    tile: tuple[int, int] | None = None


BLACK_AND_WHITE = LabelMap({0: 0, 255: 1})
"""Black is background, white is foreground; anything else is refused."""


def _pack(pixels: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Give every pixel of a (H, W, 3) image one number: red * 2**16 + green * 2**8 + blue."""
    packed = pixels[:, :, 0].astype(np.int32)
    for channel in (1, 2):
        packed <<= 8
        packed |= pixels[:, :, channel]
    return packed


def _unpack(number: int) -> Colour:
    return number >> 16, number >> 8 & 255, number & 255


def _has_colours(pixels: NDArray[Any]) -> bool:
    return pixels.ndim == 3 and pixels.shape[2] >= 3 and bool((pixels[:, :, :1] != pixels[:, :, 1:3]).any())
