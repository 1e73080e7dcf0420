"""Overlays of a prediction on its image, and panels side by side."""

import sys
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

RgbImage = NDArray[np.uint8]

# Okabe, Ito: Color Universal Design (2008), distinguishable with every kind of colour vision
TRUE_POSITIVE = (0, 158, 115)  # bluish green
FALSE_NEGATIVE = (230, 159, 0)  # orange
FALSE_POSITIVE = (86, 180, 233)  # sky blue
VOID_GREY = 128  # an ignored pixel of the mask
_OPACITY = 0.75  # of a colour over the grey image
_CLIPPED_PERCENT = 0.1  # of the values at either end that may be clipped for display
_PANEL_HEIGHT = 256  # pixels; smaller images are enlarged to at least this height
_STRIP = 26  # height of a caption in pixels


def overlay(image: RgbImage, predicted: NDArray[np.bool_], truth: NDArray[np.bool_] | None) -> RgbImage:
    """Paint true positives, false negatives and false positives over the dimmed grey image.

    Parameters
    ----------
    image : (H, W, 3) array of uint8
    predicted, truth : (H, W) array of bool
        Without `truth` (an unlabelled sample), the whole prediction is painted as true positives.

    Returns
    -------
    (H, W, 3) array of uint8
    """
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    dimmed = np.arange(256)[:, None] * 0.7
    painted = cv2.LUT(grey, _rounded(dimmed * np.ones(3)))
    mask = predicted if truth is None else truth
    for pixels, colour in (
        (predicted & mask, TRUE_POSITIVE),
        (~predicted & mask, FALSE_NEGATIVE),
        (predicted & ~mask, FALSE_POSITIVE),
    ):
        tinted = cv2.LUT(grey, _rounded((1 - _OPACITY) * dimmed + _OPACITY * np.array(colour)))
        cv2.copyTo(tinted, pixels.astype(np.uint8), painted)
    return np.asarray(painted)


def _rounded(table: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return the RGB value for each grey value as a lookup table of OpenCV."""
    return np.rint(table).astype(np.uint8)[None]


def panel(parts: Sequence[tuple[str, RgbImage]], note: str, max_width: int | None = None) -> RgbImage:
    """Arrange images side by side, each below its caption, with a note at the top right.

    Parameters
    ----------
    parts : sequence of (caption, (H, W, 3) array of uint8)
        All of one size; enlarged by an integer factor to a height of at least 256 pixels.
    note : str
        For example ``"synthetic"``.
    max_width : int, optional
        Width in pixels that no image is enlarged beyond.
    """
    gap = 6
    columns = []
    for caption, pixels in parts:
        height, width = pixels.shape[:2]
        factor = max(1, min(-(-_PANEL_HEIGHT // height), (max_width or sys.maxsize) // width))
        large = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST)
        strip = np.full((_STRIP, large.shape[1], 3), 255, dtype=np.uint8)
        _put_text(strip, caption, 4)
        columns += [np.vstack([strip, large]), np.full((large.shape[0] + _STRIP, gap, 3), 255, dtype=np.uint8)]
    canvas = np.hstack(columns[:-1])
    if note:
        width = cv2.getTextSize(note, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)[0][0]
        _put_text(canvas[:_STRIP], note, canvas.shape[1] - width - 4)
    return np.asarray(canvas)


def _put_text(strip: RgbImage, text: str, left: int) -> None:
    cv2.putText(strip, text, (left, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (30, 30, 30), 1, cv2.LINE_AA)


def display_limits(pixels: NDArray[Any], copies: int = 1) -> tuple[float, float]:
    """Return the values that `for_display` shows as black and white: the 0.1 and 99.9 percentiles.

    Parameters
    ----------
    pixels : array of uint8, uint16 or float32
    copies : int
        How often each value occurs in the array to show, such as 3 if grey is shown as RGB.
    """
    if pixels.dtype == np.uint8:
        return 0.0, 255.0
    positions = np.array((_CLIPPED_PERCENT, 100 - _CLIPPED_PERCENT)) / 100 * (pixels.size * copies - 1)
    indices = np.floor(positions).astype(np.int64)
    neighbours = _sorted_values(pixels, np.stack([indices, indices + 1]).clip(max=pixels.size * copies - 1) // copies)
    low, high = (float(np.quantile(pair, part)) for pair, part in zip(neighbours.T, positions - indices, strict=True))
    return (low, high) if high > low else (float(pixels.min()), float(pixels.max()))


def _sorted_values(pixels: NDArray[Any], indices: NDArray[np.int64]) -> NDArray[Any]:
    """Return the values at some indices of the sorted pixels."""
    if pixels.dtype != np.uint16:
        return np.asarray(np.partition(pixels, np.unique(indices), axis=None)[indices])
    counts = np.zeros(2**16, dtype=np.int64)
    for rows in pixels:
        counts += np.bincount(rows.ravel(), minlength=len(counts))
    return np.searchsorted(counts.cumsum(), indices, side="right").astype(np.uint16)


def for_display(pixels: NDArray[Any], limits: tuple[float, float] | None = None) -> RgbImage:
    """Rescale 16-bit and float images to 0..255 between two limits; clip the values outside.

    Over the range of the type, 12-bit values in 16 bits would look black; so would an image with one hot pixel over the
    range of its values.

    Parameters
    ----------
    pixels : array of uint8, uint16 or float32
        uint8 is returned unchanged.
    limits : (float, float), optional
        By default the `display_limits` of these pixels.
    """
    if pixels.dtype == np.uint8:
        return pixels
    low, high = display_limits(pixels) if limits is None else limits
    scaled = (pixels.astype(np.float32) - low) / max(high - low, 1e-12) * 255
    return np.asarray(np.rint(np.clip(scaled, 0, 255)), dtype=np.uint8)
