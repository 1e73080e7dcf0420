"""The contact sheet of a data set: samples spread evenly over it, with their masks drawn on."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from pipeline.images.captions import DARK, font, shortened
from pipeline.images.figures import RgbImage
from pipeline.raw.check.measure import THUMBNAIL, Measured
from pipeline.raw.check.text import printable

SHOWN = 24
_COLUMNS = 6
_GAP, _STRIP = 6, 20  # pixels
_SIZE = 11  # of the font
_RED, _GREY = (180, 0, 0), (225, 225, 225)


def spread(count: int) -> set[int]:
    """Choose up to 24 of `count` places, evenly."""
    return {index * count // min(SHOWN, count) for index in range(min(SHOWN, count))}


def contact_sheet(measured: Sequence[Measured]) -> RgbImage:
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
    if not shown:
        pen.text((_GAP, _GAP), "no samples", font=font(_SIZE), fill=_RED)
    for index, item in enumerate(shown):
        left, top = _GAP + index % _COLUMNS * wide, _GAP + index // _COLUMNS * high
        if item.thumbnail is None:
            pen.rectangle((left, top, left + THUMBNAIL - 1, top + THUMBNAIL - 1), fill=_GREY)
            pen.text((left + _GAP, top + _GAP), "cannot be used", font=font(_SIZE), fill=_RED)
        else:
            height, width = item.thumbnail.shape[:2]
            place = (left + (THUMBNAIL - width) // 2, top + (THUMBNAIL - height) // 2)
            whole.paste(Image.fromarray(item.thumbnail), place)
        name = shortened(str(printable(item.sample.id)), f" · {item.split or 'no split'}", THUMBNAIL, _SIZE)
        pen.text((left, top + THUMBNAIL + 3), name, font=font(_SIZE), fill=_RED if item.problems else DARK)
    return np.asarray(whole)
