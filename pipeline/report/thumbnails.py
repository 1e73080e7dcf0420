"""Encode small images for the report as WebP data URIs."""

import base64
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.counts import VOID
from pipeline.images.colours import paint
from pipeline.images.figures import FALSE_NEGATIVE, FALSE_POSITIVE, TRUE_POSITIVE, RgbImage
from pipeline.raw.decode.palette import Colour

OTHER_CLASS = (204, 121, 167)  # reddish purple of the same palette: predicted as another class
_QUALITY = 80
_LOSSLESS = 101  # of OpenCV's WebP encoder


def error_kinds(
    truth: NDArray[np.uint8], predicted: NDArray[np.uint8], *, background: bool = True
) -> NDArray[np.uint8]:
    """Classify the pixels of a prediction as true positives, false negatives, false positives or another class.

    Parameters
    ----------
    truth, predicted : (H, W) array of uint8
        Class indices; `VOID` in `truth` where pixels do not count.
    background : bool
        Whether class 0 is background; without it, every pixel has the right or another class.

    Returns
    -------
    (H, W) array of uint8
        0: background, and pixels that do not count; 1: true positive, of the right class; 2: false negative; 3: false
        positive; 4: foreground predicted as another foreground class.
    """
    kinds = np.zeros(truth.shape, dtype=np.uint8)
    is_foreground, is_predicted = (
        (plane > 0) if background else np.ones(plane.shape, dtype=bool) for plane in (truth, predicted)
    )
    kinds[is_foreground & is_predicted & (truth == predicted)] = 1
    kinds[is_foreground & ~is_predicted] = 2
    kinds[~is_foreground & is_predicted] = 3
    kinds[is_foreground & is_predicted & (truth != predicted)] = 4
    kinds[truth == VOID] = 0
    return kinds


def encode_image(pixels: RgbImage) -> bytes:
    """Encode an RGB image."""
    return _webp(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), _QUALITY)


def encode_classes(classes: NDArray[np.uint8], colours: Sequence[Colour]) -> bytes:
    """Encode class indices in their colours; two classes are black and white. Pixels that do not count are grey."""
    shades = ((0, 0, 0), (255, 255, 255)) if len(colours) == 2 else colours
    return _webp(cv2.cvtColor(paint(classes, shades), cv2.COLOR_RGB2BGR), _LOSSLESS)


def encode_errors(kinds: NDArray[np.uint8]) -> bytes:
    """Encode the result of `error_kinds` as colours on a transparent background, to overlay the image."""
    table = np.zeros((256, 4), dtype=np.uint8)
    for kind, (red, green, blue) in enumerate((TRUE_POSITIVE, FALSE_NEGATIVE, FALSE_POSITIVE, OTHER_CLASS), start=1):
        table[kind] = (blue, green, red, 255)
    return _webp(table[kinds], _LOSSLESS)


def _webp(pixels: NDArray[Any], quality: int) -> bytes:
    encoded, data = cv2.imencode(".webp", pixels, [cv2.IMWRITE_WEBP_QUALITY, quality])
    if not encoded:
        raise ValueError(f"cannot encode an array of shape {pixels.shape}")
    return data.tobytes()


def to_base64(encoded: bytes) -> str:
    """Return an encoded image as text."""
    return base64.b64encode(encoded).decode("ascii")


def data_uri(encoded: bytes) -> str:
    """Return an encoded image as a data URI."""
    return f"data:image/webp;base64,{to_base64(encoded)}"
