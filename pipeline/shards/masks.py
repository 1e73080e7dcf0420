"""Resize class masks without new values: by nearest neighbour, or by area with the share of each class kept."""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

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
    rows, columns = _weights(mask.shape[0], height), _weights(mask.shape[1], width)
    if (rows.nnz, columns.nnz) == (height, width):  # each new pixel consists of one source pixel
        return np.ascontiguousarray(mask[rows.indices][:, columns.indices])
    counts = np.bincount(mask.ravel(), minlength=256)
    *rarer, commonest = sorted(np.flatnonzero(counts).tolist(), key=lambda value: int(counts[value]))
    resized = np.full((height, width), commonest, dtype=np.uint8)
    free = np.ones(resized.shape, dtype=bool)
    fractions = {value: _fractions(mask == value, height, width) for value in rarer}
    for value, fraction in fractions.items():
        whole = fraction == 1
        target = max(1, round(counts[value] / mask.size * resized.size)) - np.count_nonzero(whole)
        neighbourhood = cv2.blur(fraction, (3, 3)).round(9)
        chosen = _highest(fraction + _NEIGHBOURHOOD * neighbourhood, free & (fraction > 0) & ~whole, target)
        resized[chosen | whole] = value
        free &= ~(chosen | whole)
    if len(rarer) > 1:
        stack = np.stack(list(fractions.values()))
        without = free & (stack.sum(axis=0) > 1 - 1e-9)
        resized[without] = np.array(rarer, dtype=np.uint8)[stack[:, without].argmax(axis=0)]
    return resized


def _fractions(pixels: NDArray[np.bool_], height: int, width: int) -> NDArray[np.float64]:
    """Return the fraction of True in each new pixel, (height, width)."""
    rows, columns = _weights(pixels.shape[0], height), _weights(pixels.shape[1], width)
    sums = columns @ (rows @ pixels.view(np.uint8)).T  # of integers, hence the same for a mirrored mask
    totals = np.outer(_totals(pixels.shape[0], height), _totals(pixels.shape[1], width))
    return np.asarray(np.ascontiguousarray(sums.T) / totals)


@lru_cache(maxsize=64)
def _weights(size: int, new_size: int) -> sparse.csr_array:
    """Return the weights (new_size, size) of source pixels in new pixels: 2, or 1 where a centre lies on a border."""
    coarse, fine = sorted((size, new_size))
    cell, rest = np.divmod((2 * np.arange(fine) + 1) * coarse, 2 * fine)  # the coarse pixel with each fine centre
    border = np.flatnonzero(rest == 0)
    coarse_pixels = np.concatenate([cell, cell[border] - 1])
    fine_pixels = np.concatenate([np.arange(fine), border])
    values = np.concatenate([np.where(rest == 0, 1, 2), np.ones(len(border))]).astype(np.int32)
    indices = (coarse_pixels, fine_pixels) if size > new_size else (fine_pixels, coarse_pixels)
    return sparse.csr_array((values, indices), shape=(new_size, size))


@lru_cache(maxsize=64)
def _totals(size: int, new_size: int) -> NDArray[np.float64]:
    """Return the sums (new_size,) of the weights of each new pixel."""
    return np.asarray(_weights(size, new_size).sum(axis=1), dtype=np.float64)


def _highest(score: NDArray[np.float64], candidates: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    """Choose about `count` candidates with the highest scores: of equal scores all or none, but not none at all."""
    scores = np.sort(score[candidates])[::-1][:count] if count > 0 else np.empty(0)
    if not scores.size:
        return np.zeros_like(candidates)
    above, from_level = candidates & (score > scores[-1]), candidates & (score >= scores[-1])
    missing, excess = count - np.count_nonzero(above), np.count_nonzero(from_level) - count
    return np.asarray(above if above.any() and missing < excess else from_level)
