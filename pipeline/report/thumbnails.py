"""Small images for the page: WebP of bounded size, as text that stands in it."""

import base64
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.counts import VOID
from pipeline.images.colours import paint
from pipeline.images.figures import FALSE_ALARM, HIT, MISS, RgbImage
from pipeline.raw.decode.palette import Colour

OTHER = (204, 121, 167)  # reddish purple of the same palette: one class taken for another
_QUALITY = 80
_LOSSLESS = 101  # of OpenCV's WebP encoder


def reduced(pixels: NDArray[np.uint8], side: int, *, classes: bool = False) -> NDArray[np.uint8]:
    """Bring an image to at most `side` pixels in height and width; smaller ones stay as they are.

    Parameters
    ----------
    pixels : (H, W) or (H, W, 3) array of uint8
    side : int
    classes : bool
        Whether values are classes, which cannot be averaged: the nearest one is taken.
    """
    factor = side / max(pixels.shape[:2])
    if factor >= 1:
        return pixels
    size = (max(1, round(pixels.shape[1] * factor)), max(1, round(pixels.shape[0] * factor)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_NEAREST if classes else cv2.INTER_AREA))


def errors_of(truth: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Tell where a prediction is right and wrong.

    Parameters
    ----------
    truth, predicted : (H, W) array of uint8
        Class indices, 0 is background; `VOID` in `truth` where pixels do not count.

    Returns
    -------
    (H, W) array of uint8
        0: background, and what does not count; 1: foreground of the right class; 2: missed; 3: false alarm; 4: one
        foreground class taken for another.
    """
    kinds = np.zeros(truth.shape, dtype=np.uint8)
    true, said = (truth > 0), (predicted > 0)
    kinds[true & said & (truth == predicted)] = 1
    kinds[true & ~said] = 2
    kinds[~true & said] = 3
    kinds[true & said & (truth != predicted)] = 4
    kinds[truth == VOID] = 0
    return kinds


def photograph(pixels: RgbImage) -> bytes:
    """Encode an RGB image."""
    return _webp(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), _QUALITY)


def painted(classes: NDArray[np.uint8], colours: Sequence[Colour]) -> bytes:
    """Encode class indices in their colours; of two classes, black and white. What does not count is grey."""
    shades = ((0, 0, 0), (255, 255, 255)) if len(colours) == 2 else colours
    return _webp(cv2.cvtColor(paint(classes, shades), cv2.COLOR_RGB2BGR), _LOSSLESS)


def overlaid(kinds: NDArray[np.uint8]) -> bytes:
    """Encode what `errors_of` gave as colours on nothing, to lie over the image."""
    table = np.zeros((256, 4), dtype=np.uint8)
    for kind, (red, green, blue) in enumerate((HIT, MISS, FALSE_ALARM, OTHER), start=1):
        table[kind] = (blue, green, red, 255)
    return _webp(table[kinds], _LOSSLESS)


def _webp(pixels: NDArray[Any], quality: int) -> bytes:
    done, data = cv2.imencode(".webp", pixels, [cv2.IMWRITE_WEBP_QUALITY, quality])
    if not done:
        raise ValueError(f"cannot encode an array of shape {pixels.shape}")
    return data.tobytes()


def as_uri(encoded: bytes) -> str:
    """Write an encoded image as an address that holds it."""
    return f"data:image/webp;base64,{base64.b64encode(encoded).decode('ascii')}"
