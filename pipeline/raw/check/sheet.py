"""The contact sheet of a data set: evenly spaced samples with their masks."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from pipeline.core.errors import printable
from pipeline.images.captions import DARK, elide, font
from pipeline.images.colours import legend
from pipeline.images.figures import RgbImage
from pipeline.raw.check.measure import THUMBNAIL, Measurement
from pipeline.raw.dataset import RawDataset

MAX_SAMPLES = 24
_COLUMNS = 6
_GAP, _CAPTION_HEIGHT = 6, 20  # pixels
_FONT_SIZE = 11
_RED, _GREY = (180, 0, 0), (225, 225, 225)


def evenly_spaced(count: int) -> set[int]:
    """Return up to `MAX_SAMPLES` evenly spaced indices of `count` samples."""
    return {index * count // min(MAX_SAMPLES, count) for index in range(min(MAX_SAMPLES, count))}


def contact_sheet(measured: Sequence[Measurement], dataset: RawDataset) -> RgbImage:
    """Arrange the thumbnails of evenly spaced samples in rows, each above its identifier and split.

    Below is a legend of the tinted classes, if there are several or a shown mask has ignored pixels.

    Parameters
    ----------
    measured : sequence of Measurement
        All samples, in the order of the indices of `evenly_spaced`.

    Returns
    -------
    (H, W, 3) array of uint8
    """
    selected = [measured[index] for index in sorted(evenly_spaced(len(measured)))]
    rows = max(1, -(-len(selected) // _COLUMNS))
    column_width, row_height = THUMBNAIL + _GAP, THUMBNAIL + _CAPTION_HEIGHT + _GAP
    sheet = Image.new("RGB", (_COLUMNS * column_width + _GAP, rows * row_height + _GAP), "white")
    pen = ImageDraw.Draw(sheet)
    if not selected:
        pen.text((_GAP, _GAP), "no samples", font=font(_FONT_SIZE), fill=_RED)
    for index, item in enumerate(selected):
        left, top = _GAP + index % _COLUMNS * column_width, _GAP + index // _COLUMNS * row_height
        if item.thumbnail is None:
            pen.rectangle((left, top, left + THUMBNAIL - 1, top + THUMBNAIL - 1), fill=_GREY)
            pen.text((left + _GAP, top + _GAP), "cannot be used", font=font(_FONT_SIZE), fill=_RED)
        else:
            height, width = item.thumbnail.shape[:2]
            corner = (left + (THUMBNAIL - width) // 2, top + (THUMBNAIL - height) // 2)
            sheet.paste(Image.fromarray(item.thumbnail), corner)
        name = elide(printable(item.sample.id), f" · {item.split or 'no split'}", THUMBNAIL, _FONT_SIZE)
        pen.text((left, top + THUMBNAIL + 3), name, font=font(_FONT_SIZE), fill=_RED if item.problems else DARK)
    has_ignored = any(item.mask_pixels is not None and item.mask_pixels[-1] > 0 for item in selected)
    if not dataset.multiclass and not has_ignored:
        return np.asarray(sheet)
    classes, colours = dataset.classes[dataset.foreground], dataset.colours[dataset.foreground]
    return np.vstack(
        [np.asarray(sheet), legend(classes, colours, width=sheet.width, void=has_ignored)[:, : sheet.width]]
    )
