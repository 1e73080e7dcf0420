"""Captions with names of samples, in any script, shortened to fit."""

from functools import cache
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.images.figures import RgbImage

DARK = (30, 30, 30)
_STRIP = 22  # height of a caption in pixels
_MARGIN = 4


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Load the font of matplotlib, because cv2 renders only ASCII."""
    return ImageFont.truetype(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)


def elide(name: str, note: str, width: float, size: int) -> str:
    """Replace the middle of a name by an ellipsis if name and note are too wide, and append the note.

    The ends of the name stay, because they distinguish samples.

    Parameters
    ----------
    name, note : str
    width : float
        Maximum width in pixels.
    size : int
        Font size in pixels.
    """
    length, text = len(name), name + note
    while font(size).getlength(text) > width and length > 2:
        length -= 1
        text = f"{name[: length // 2]}…{name[len(name) - (length - length // 2) :]}{note}"
    return text


def add_caption(image: RgbImage, name: str) -> RgbImage:
    """Add a caption strip with a name below an image.

    Parameters
    ----------
    image : (H, W, 3) array of uint8
    name : str
        Without control characters; see `pipeline.raw.check.text.printable`.

    Returns
    -------
    (H + 22, W, 3) array of uint8
    """
    width = image.shape[1]
    strip = Image.new("RGB", (width, _STRIP), "white")
    text = elide(name, "", width - 2 * _MARGIN, 13)
    ImageDraw.Draw(strip).text((_MARGIN, _STRIP // 2), text, font=font(13), fill=DARK, anchor="lm")
    return np.vstack([image, np.asarray(strip)])
