"""Images for people: a prediction painted over its image, and panels side by side."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

RgbImage = NDArray[np.uint8]

# Okabe, Ito: Color Universal Design (2008): told apart with every kind of colour vision
HIT = (0, 158, 115)  # bluish green
MISS = (230, 159, 0)  # orange
FALSE_ALARM = (86, 180, 233)  # sky blue
VOID_GREY = 128  # a pixel of the mask that does not count
_STRENGTH = 0.75  # of a colour over the grey image
_CLIPPED = 0.1  # percent of the values at either end that may be clipped for display
_PANEL_HEIGHT = 256  # smaller images are enlarged to this
_STRIP = 26  # height of a caption


def overlay(image: RgbImage, predicted: NDArray[np.bool_], true: NDArray[np.bool_] | None) -> RgbImage:
    """Paint hits, misses and false alarms over the dimmed grey image.

    Parameters
    ----------
    image : (H, W, 3) array of uint8
    predicted, true : (H, W) array of bool
        Without `true` (an unlabelled sample) the whole prediction is painted as hits.

    Returns
    -------
    (H, W, 3) array of uint8
    """
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    painted = grey * 0.7
    true_ = predicted if true is None else true
    for where, colour in ((predicted & true_, HIT), (~predicted & true_, MISS), (predicted & ~true_, FALSE_ALARM)):
        painted[where] = (1 - _STRENGTH) * painted[where] + _STRENGTH * np.array(colour)
    return np.asarray(np.rint(painted), dtype=np.uint8)


def panel(parts: Sequence[tuple[str, RgbImage]], note: str) -> RgbImage:
    """Set images side by side, each under its caption, with a note on the right.

    Parameters
    ----------
    parts : sequence of (caption, (H, W, 3) array of uint8)
        All of one size; enlarged by whole factors to at least 256 pixels of height.
    note : str
        Such as ``"synthetic"``.
    """
    gap = 6
    columns = []
    for caption, pixels in parts:
        factor = max(1, -(-_PANEL_HEIGHT // pixels.shape[0]))
        large = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST)
        strip = np.full((_STRIP, large.shape[1], 3), 255, dtype=np.uint8)
        _write(strip, caption, 4)
        columns += [np.vstack([strip, large]), np.full((large.shape[0] + _STRIP, gap, 3), 255, dtype=np.uint8)]
    whole = np.hstack(columns[:-1])
    if note:
        width = cv2.getTextSize(note, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)[0][0]
        _write(whole[:_STRIP], note, whole.shape[1] - width - 4)
    return np.asarray(whole)


def _write(strip: RgbImage, text: str, left: int) -> None:
    cv2.putText(strip, text, (left, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (30, 30, 30), 1, cv2.LINE_AA)


def for_display(pixels: NDArray[Any]) -> RgbImage:
    """Bring 16-bit and float images to 0..255, from dark to bright; the thousandth at either end may be clipped.

    12 bits in a container of 16 would be black over the range of the type, and so would an image with one hot pixel
    from its lowest to its highest value.
    """
    if pixels.dtype == np.uint8:
        return pixels
    low, high = map(float, np.percentile(pixels, (_CLIPPED, 100 - _CLIPPED)))
    if high <= low:
        low, high = float(pixels.min()), float(pixels.max())
    scaled = (pixels.astype(np.float32) - low) / max(high - low, 1e-12) * 255
    return np.asarray(np.rint(np.clip(scaled, 0, 255)), dtype=np.uint8)
