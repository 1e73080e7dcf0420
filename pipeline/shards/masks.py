"""Resize class masks without new values: by nearest neighbour, or by area with the share of each class kept."""

from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.shards.recipes import MaskResize

_NEIGHBOURHOOD = 1e-6  # weight of the neighbourhood, which only decides between equal fractions


def resize_mask(mask: NDArray[np.uint8], height: int, width: int, method: MaskResize) -> NDArray[np.uint8]:
    """Resize a class mask or a field of view.

    Parameters
    ----------
    mask : (H, W) array of uint8
        Class indices, `VOID` for ignored pixels.
    height, width : int
        New size in pixels.
    method : {'nearest', 'area'}
        ``'nearest'`` takes the source pixel at the centre of each new pixel. Where the centre lies between source
        pixels, it takes the one to the right or below: all of them at even reduction factors, so that a mask of 512
        pixels at 256 is shifted by half a source pixel. ``'area'`` is without a shift; see `_resize_by_area`.

    Returns
    -------
    (height, width) array of uint8
        Holds no values that the mask does not hold.
    """
    if mask.shape == (height, width):
        return mask
    if method == "nearest":
        return np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT))
    return _resize_by_area(mask, height, width)


def _resize_by_area(mask: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resize a mask by the fractions of its classes in each new pixel, and keep the share of each class.

    Along an axis that shrinks, a new pixel consists of the source pixels whose centres it contains; along one that
    grows, of the source pixel that contains its centre. A centre on a border counts half on both sides.

    New pixels of one class get it. The others are assigned class by class, the rarest first and the commonest last: a
    class gets those with its highest fractions, until it has the same share of the pixels as in the source, and at
    least one pixel. Of equal fractions, those with more of the class in the 3x3 neighbourhood come first; where these
    are equal too, all pixels or none get the class, whichever is nearer to its share. A pixel that is left over gets
    the commonest class if it contains it, else the class with the highest fraction.
    """
    rows, columns = _cells(mask.shape[0], height), _cells(mask.shape[1], width)
    if rows.single and columns.single:  # each new pixel consists of one source pixel
        return np.ascontiguousarray(mask[rows.low[1]][:, columns.low[1]])
    counts = _count_values(mask)
    *rarer, commonest = sorted(np.flatnonzero(counts).tolist(), key=lambda value: int(counts[value]))
    resized = np.full((height, width), commonest, dtype=np.uint8)
    free = np.ones(resized.shape, dtype=bool)
    several = len(rarer) > 1
    sums, highest = np.zeros((2, *resized.shape)) if several else (None, None)
    winner = resized.copy() if several else resized
    for value in rarer:
        window, fraction = _fractions(mask == value, rows, columns)
        if sums is not None and highest is not None:
            sums[window] += fraction
            higher = fraction > highest[window]
            np.copyto(highest[window], fraction, where=higher)
            np.copyto(winner[window], np.uint8(value), where=higher)
        whole = fraction == 1
        np.copyto(resized[window], np.uint8(value), where=whole)
        target = max(1, round(counts[value] / mask.size * resized.size)) - np.count_nonzero(whole)
        is_free = free[window]
        is_free &= ~whole
        candidates = np.flatnonzero(is_free & (fraction > 0))
        neighbourhood = cv2.blur(fraction, (3, 3)).ravel()[candidates].round(9)
        chosen = candidates[_highest(fraction.ravel()[candidates] + _NEIGHBOURHOOD * neighbourhood, target)]
        pixels = np.unravel_index(chosen, fraction.shape)
        resized[window][pixels] = value
        is_free[pixels] = False
    if sums is not None:
        without = free & (sums > 1 - 1e-9)
        resized[without] = winner[without]
    return resized


def _count_values(mask: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the number of pixels of each value, (256,); OpenCV counts in float32, exactly up to 2**24."""
    rows = max(1, 2**24 // mask.shape[1])
    parts = [np.ascontiguousarray(mask[start : start + rows]) for start in range(0, mask.shape[0], rows)]
    counts = [cv2.calcHist([part], [0], None, [256], [0, 256]).ravel().astype(np.int64) for part in parts]
    return np.asarray(np.sum(counts, axis=0, dtype=np.int64))


class _Cells(NamedTuple):
    """The source pixels of each new pixel along an axis, as differences of cumulative sums.

    With C[i] the sum of the first i source values, a new pixel has the sum ``C[high].sum() - C[low].sum()``: it counts
    each value twice, and once where a centre lies on a border.

    Parameters
    ----------
    low, high : (2, new_size) array of int64
    totals : (new_size,) array of int64
        The sum of the weights of each new pixel.
    single : bool
        Whether each new pixel consists of one source pixel.
    """

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    totals: NDArray[np.int64]
    single: bool


@lru_cache(maxsize=64)
def _cells(size: int, new_size: int) -> _Cells:
    coarse, fine = sorted((size, new_size))
    cell, rest = np.divmod((2 * np.arange(fine) + 1) * coarse, 2 * fine)  # the coarse pixel with each fine centre
    border = (rest == 0).astype(np.int64)
    if size > new_size:
        first = np.searchsorted(cell, np.arange(new_size + 1))
        edges = np.stack([first, first + np.append(border, 0)[first]])
        low, high = edges[:, :-1], edges[:, 1:]
    else:
        low = np.stack([cell - border, cell])
        high = low + 1
    return _Cells(low, high, high.sum(axis=0) - low.sum(axis=0), size <= new_size and not border.any())


def _fractions(
    pixels: NDArray[np.bool_], rows: _Cells, columns: _Cells
) -> tuple[tuple[slice, slice], NDArray[np.float64]]:
    """Return the window of the new pixels with True and those around them, and their fractions of True."""
    x, y, width, height = cv2.boundingRect(pixels.view(np.uint8))
    window = _window(rows, y, y + height), _window(columns, x, x + width)
    (top, bottom), (left, right) = (
        (int(cells.low[0, part.start]), int(cells.high[1, part.stop - 1]))
        for cells, part in zip((rows, columns), window, strict=True)
    )
    table = cv2.integral(pixels[top:bottom, left:right].view(np.uint8))  # of integers: the same for a mirrored mask
    of_rows = _differences(table, rows, window[0], top)
    sums = cv2.transpose(_differences(cv2.transpose(of_rows), columns, window[1], left))
    return window, sums / np.multiply.outer(rows.totals[window[0]], columns.totals[window[1]])


def _window(cells: _Cells, start: int, stop: int) -> slice:
    """Return the new pixels with source pixels from `start` to `stop`, and one more on both sides."""
    first = int(np.searchsorted(cells.high[1], start, side="right"))
    last = int(np.searchsorted(cells.low[0], stop, side="left"))
    return slice(max(0, first - 1), min(len(cells.totals), last + 1))


def _differences(table: NDArray[Any], cells: _Cells, part: slice, start: int) -> NDArray[Any]:
    """Return the sums of a part of the new pixels along the first axis of a table of cumulative sums from `start`."""
    (low, more_low), (high, more_high) = cells.low[:, part] - start, cells.high[:, part] - start
    sums = table[high]
    sums += table[more_high]
    sums -= table[low]
    sums -= table[more_low]
    return np.asarray(sums)


def _highest(score: NDArray[np.float64], count: int) -> NDArray[np.bool_]:
    """Choose about `count` of the highest scores: of equal ones all or none, but not none at all."""
    if count <= 0 or not score.size:
        return np.zeros(score.shape, dtype=bool)
    rank = max(0, score.size - count)
    level = np.partition(score, rank)[rank]
    above, from_level = score > level, score >= level
    missing, excess = count - np.count_nonzero(above), np.count_nonzero(from_level) - count
    return np.asarray(above if above.any() and missing < excess else from_level)
