"""Class colours: masks in colour, overlays that mark errors, and legends."""

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
"""Legend text of the white outline and hatching of an overlay."""

_OPACITY = 0.6  # of a colour over the grey image
_DIM = 0.7  # brightness factor of the grey image
_HATCH_SPACING = 6  # in line widths
_SIDE_PER_LINE = 512  # pixels of the shorter side for each pixel of line width
_ROW, _SWATCH, _GAP = 22, 14, 6  # pixels
_FONT_SIZE = 12  # pixels


def paint(classes: NDArray[np.uint8], colours: Sequence[Colour]) -> RgbImage:
    """Colour a mask by class; void is grey.

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
    image: RgbImage,
    predicted: NDArray[np.uint8],
    truth: NDArray[np.uint8] | None,
    colours: Sequence[Colour],
    *,
    background: bool = True,
) -> RgbImage:
    """Blend the predicted classes over the dimmed grey image; outline and hatch wrong pixels in white.

    Parameters
    ----------
    image : (H, W, 3) array of uint8
    predicted : (H, W) array of uint8
        Class indices.
    truth : (H, W) array of uint8, optional
        Class indices; `VOID` pixels are neither painted nor wrong. Without `truth`, no pixel is wrong.
    colours : sequence of (int, int, int)
    background : bool
        Whether class 0 is background, which is not painted.

    Returns
    -------
    (H, W, 3) array of uint8
    """
    grey = cv2.convertScaleAbs(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), alpha=_DIM)
    painted = cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)
    valid = np.ones(predicted.shape, dtype=bool) if truth is None else truth != VOID
    blended = cv2.addWeighted(painted, 1 - _OPACITY, paint(predicted, colours), _OPACITY, 0)
    is_painted = (predicted > 0) & valid if background else valid
    cv2.copyTo(blended, is_painted.astype(np.uint8), painted)
    if truth is not None:
        white = _hatching((predicted != truth) & valid) * np.uint8(255)
        painted = cv2.bitwise_or(painted, cv2.merge([white] * 3))
    return np.asarray(painted)


def _hatching(area: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels of the inner outline and the diagonal hatching of an area; line width grows with the image."""
    line = max(1, round(min(area.shape) / _SIDE_PER_LINE))
    kernel = np.ones((2 * line + 1, 2 * line + 1), dtype=np.uint8)
    interior = cv2.erode(area.astype(np.uint8), kernel, borderType=cv2.BORDER_REPLICATE) == 1
    y, x = np.ogrid[: area.shape[0], : area.shape[1]]
    return np.asarray(area & (~interior | ((x + y) % (_HATCH_SPACING * line) < line)))


def legend(
    classes: Sequence[str], colours: Sequence[Colour], *, width: int = 0, void: bool = False, wrong: bool = False
) -> RgbImage:
    """Render a legend of class names and colours.

    Parameters
    ----------
    classes : sequence of str
    colours : sequence of (int, int, int)
    width : int
        Width in pixels at which entries continue in the next row; 0 for one column, as wide as needed.
    void, wrong : bool
        Whether to add entries for void pixels and for the white hatching of an overlay.

    Returns
    -------
    (H, width, 3) array of uint8
        Wider than `width` only if one entry is.
    """
    entries = [*zip(classes, colours, strict=True), *([("ignored", VOID_COLOUR)] if void else [])]
    names = [name for name, _ in entries] + ([WRONG] if wrong else [])
    widths = [_SWATCH + 3 * _GAP + round(font(_FONT_SIZE).getlength(name)) for name in names]
    positions: list[tuple[int, int]] = []
    left = top = 0
    for entry_width in widths:
        if left and left + entry_width > width:
            left, top = 0, top + _ROW
        positions.append((left, top))
        left += entry_width
    canvas = Image.new("RGB", (max(width, *widths), top + _ROW), "white")
    draw = ImageDraw.Draw(canvas)
    for index, (name, (x, y)) in enumerate(zip(names, positions, strict=True)):
        corner = (x + _GAP, y + (_ROW - _SWATCH) // 2)
        if index < len(entries):
            swatch = np.full((_SWATCH, _SWATCH, 3), entries[index][1], dtype=np.uint8)
        else:
            swatch = np.full((_SWATCH, _SWATCH, 3), VOID_GREY // 2, dtype=np.uint8)
            swatch[_hatching(np.ones((_SWATCH, _SWATCH), dtype=bool))] = 255
        canvas.paste(Image.fromarray(swatch), corner)
        draw.rectangle((corner[0] - 1, corner[1] - 1, corner[0] + _SWATCH, corner[1] + _SWATCH), outline=(90, 90, 90))
        draw.text((corner[0] + _SWATCH + _GAP, y + _ROW // 2), name, font=font(_FONT_SIZE), fill=DARK, anchor="lm")
    return np.asarray(canvas)
