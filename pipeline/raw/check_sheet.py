"""The contact sheet of a data set: samples spread evenly over it, with their masks drawn on."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.pictures import Picture
from pipeline.raw.check_measure import THUMBNAIL, Measured
from pipeline.raw.check_text import printable

SHOWN = 24
_COLUMNS = 6
_GAP, _STRIP = 6, 20  # pixels
_DARK, _RED, _GREY = (30, 30, 30), (180, 0, 0), (225, 225, 225)


def spread(count: int) -> set[int]:
    """Choose up to 24 of `count` places, evenly."""
    return {index * count // min(SHOWN, count) for index in range(min(SHOWN, count))}


def contact_sheet(measured: Sequence[Measured]) -> Picture:
    """Lay the chosen samples out in rows, each above its identifier and split.

    Parameters
    ----------
    measured : sequence of Measured
        All samples, in the order in which `spread` chose.

    Returns
    -------
    (H, W, 3) array of uint8
    """
    shown = [measured[index] for index in sorted(spread(len(measured)))]
    rows = max(1, -(-len(shown) // _COLUMNS))
    wide, high = THUMBNAIL + _GAP, THUMBNAIL + _STRIP + _GAP
    whole = Image.new("RGB", (_COLUMNS * wide + _GAP, rows * high + _GAP), "white")
    pen = ImageDraw.Draw(whole)
    # cv2 draws ASCII only; this font comes with matplotlib
    font = ImageFont.truetype(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", 11)
    if not shown:
        pen.text((_GAP, _GAP), "no samples", font=font, fill=_RED)
    for index, item in enumerate(shown):
        left, top = _GAP + index % _COLUMNS * wide, _GAP + index // _COLUMNS * high
        if item.thumbnail is None:
            pen.rectangle((left, top, left + THUMBNAIL - 1, top + THUMBNAIL - 1), fill=_GREY)
            pen.text((left + _GAP, top + _GAP), "cannot be used", font=font, fill=_RED)
        else:
            height, width = item.thumbnail.shape[:2]
            place = (left + (THUMBNAIL - width) // 2, top + (THUMBNAIL - height) // 2)
            whole.paste(Image.fromarray(item.thumbnail), place)
        name = _shortened(str(printable(item.sample.id)), f" · {item.split or 'no split'}", font)
        pen.text((left, top + THUMBNAIL + 3), name, font=font, fill=_RED if item.problems else _DARK)
    return np.asarray(whole)


def _shortened(name: str, note: str, font: ImageFont.FreeTypeFont) -> str:
    """Cut the middle out of a name that is too wide: its ends tell samples apart."""
    kept, text = len(name), name + note
    while font.getlength(text) > THUMBNAIL and kept > 2:
        kept -= 1
        text = f"{name[: kept // 2]}…{name[len(name) - (kept - kept // 2) :]}{note}"
    return text
