"""Names of samples in images: in any script, as long as they fit."""

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
    """Load the font that comes with matplotlib: cv2 draws ASCII only."""
    return ImageFont.truetype(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)


def elide(name: str, note: str, width: float, size: int) -> str:
    """Cut the middle out of a name that is too wide, and put a note behind it: the ends of names tell samples apart.

    Parameters
    ----------
    name, note : str
    width : float
        Pixels that both may take.
    size : int
        Of the font, in pixels.
    """
    kept, text = len(name), name + note
    while font(size).getlength(text) > width and kept > 2:
        kept -= 1
        text = f"{name[: kept // 2]}…{name[len(name) - (kept - kept // 2) :]}{note}"
    return text


def add_caption(image: RgbImage, name: str) -> RgbImage:
    """Write a name under an image.

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
