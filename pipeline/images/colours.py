"""Classes in their colours: painted masks, overlays in which errors stand out, and legends."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipeline.core.counts import VOID
from pipeline.images.captions import DARK, font
from pipeline.images.figures import VOID_GREY, RgbImage

Colour = tuple[int, int, int]

VOID_COLOUR: Colour = (VOID_GREY, VOID_GREY, VOID_GREY)
WRONG = "wrong"
"""What a legend calls the white outline and hatching of an overlay."""

_STRENGTH = 0.6  # of a colour over the grey image
_DIM = 0.7  # of the grey image
_HATCH = 6  # pixels from one line of the hatching to the next, at a line of one pixel
_LINE_PER = 512  # pixels of the shorter side for each pixel of a line's width
_ROW, _SWATCH, _GAP = 22, 14, 6  # pixels
_SIZE = 12  # of the font


def paint(classes: NDArray[np.uint8], colours: Sequence[Colour]) -> RgbImage:
    """Give each class its exact colour; void is grey.

    Parameters
    ----------
    classes : (H, W) array of uint8
        Class indices, or `VOID`.
    colours : sequence of (int, int, int)
        RGB 0..255, by class index.

    Returns
    -------
    (H, W, 3) array of uint8
    """
    table = np.zeros((256, 3), dtype=np.uint8)
    table[: len(colours)] = colours
    table[VOID] = VOID_COLOUR
    return np.asarray(cv2.LUT(cv2.merge([classes] * 3), table[None]))


def overlay_classes(
    image: RgbImage, predicted: NDArray[np.uint8], truth: NDArray[np.uint8] | None, colours: Sequence[Colour]
) -> RgbImage:
    """Blend the predicted classes over the dimmed grey image; outline and hatch wrong pixels in white.

    Parameters
    ----------
    image : (H, W, 3) array of uint8
    predicted : (H, W) array of uint8
        Class indices. Background (class 0) is not painted.
    truth : (H, W) array of uint8, optional
        Class indices; a `VOID` pixel is neither right nor wrong. Without it nothing is wrong.
    colours : sequence of (int, int, int)

    Returns
    -------
    (H, W, 3) array of uint8
    """
    grey = cv2.convertScaleAbs(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), alpha=_DIM)
    painted = cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)
    known = np.ones(predicted.shape, dtype=bool) if truth is None else truth != VOID
    blended = cv2.addWeighted(painted, 1 - _STRENGTH, paint(predicted, colours), _STRENGTH, 0)
    cv2.copyTo(blended, ((predicted > 0) & known).astype(np.uint8), painted)
    if truth is not None:
        white = _hatched((predicted != truth) & known) * np.uint8(255)
        painted = cv2.bitwise_or(painted, cv2.merge([white] * 3))
    return np.asarray(painted)


def _hatched(wrong: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Choose the pixels of the inner outline and of the hatching of some areas; lines grow with the image."""
    line = max(1, round(min(wrong.shape) / _LINE_PER))
    kernel = np.ones((2 * line + 1, 2 * line + 1), dtype=np.uint8)
    inner = cv2.erode(wrong.astype(np.uint8), kernel, borderType=cv2.BORDER_REPLICATE) == 1
    y, x = np.ogrid[: wrong.shape[0], : wrong.shape[1]]
    return np.asarray(wrong & (~inner | ((x + y) % (_HATCH * line) < line)))


def legend(
    classes: Sequence[str], colours: Sequence[Colour], *, width: int = 0, void: bool = False, wrong: bool = False
) -> RgbImage:
    """Draw the names of the classes beside their colours.

    Parameters
    ----------
    classes : sequence of str
    colours : sequence of (int, int, int)
    width : int
        Pixels to fill from left to right; 0 makes one column, as wide as it has to be.
    void, wrong : bool
        Whether there is an entry for pixels that do not count, and for the white hatching of an overlay.

    Returns
    -------
    (H, width, 3) array of uint8
        Wider than `width` only where a single name is.
    """
    entries = [*zip(classes, colours, strict=True), *([("does not count", VOID_COLOUR)] if void else [])]
    names = [name for name, _ in entries] + ([WRONG] if wrong else [])
    widths = [_SWATCH + 3 * _GAP + round(font(_SIZE).getlength(name)) for name in names]
    places: list[tuple[int, int]] = []
    left = top = 0
    for wide in widths:
        if left and left + wide > width:
            left, top = 0, top + _ROW
        places.append((left, top))
        left += wide
    whole = Image.new("RGB", (max(width, *widths), top + _ROW), "white")
    pen = ImageDraw.Draw(whole)
    for index, (name, (x, y)) in enumerate(zip(names, places, strict=True)):
        corner = (x + _GAP, y + (_ROW - _SWATCH) // 2)
        if index < len(entries):
            swatch = np.full((_SWATCH, _SWATCH, 3), entries[index][1], dtype=np.uint8)
        else:
            swatch = np.full((_SWATCH, _SWATCH, 3), VOID_GREY // 2, dtype=np.uint8)
            swatch[_hatched(np.ones((_SWATCH, _SWATCH), dtype=bool))] = 255
        whole.paste(Image.fromarray(swatch), corner)
        pen.rectangle((corner[0] - 1, corner[1] - 1, corner[0] + _SWATCH, corner[1] + _SWATCH), outline=(90, 90, 90))
        pen.text((corner[0] + _SWATCH + _GAP, y + _ROW // 2), name, font=font(_SIZE), fill=DARK, anchor="lm")
    return np.asarray(whole)
