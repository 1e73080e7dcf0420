"""Probabilities that are stored with 16 bits, in 65,536 fine levels, and how they become the 256 levels of 8 bits.

65535 is 257 * 255, and 257 is odd: so no fine level lies midway between two levels, and a probability that is rounded
to a fine level, and this one to a level, gives the same level as `pipeline.core.counts.to_levels`.
"""

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from pipeline.core.counts import LEVELS, to_levels

FINE_LEVELS = 65536
"""Number of levels of a probability stored with 16 bits."""

StoredLevels = NDArray[np.uint8] | NDArray[np.uint16]
"""Levels of 8 or 16 bits."""

_STEP = (FINE_LEVELS - 1) // (LEVELS - 1)  # fine levels from one level to the next


def quantize(probability: NDArray[np.floating[Any]], bits: int) -> StoredLevels:
    """Quantize probabilities in [0, 1] to levels of 8 or 16 bits by rounding, halves down."""
    if bits == 8:
        return to_levels(probability)
    fine: NDArray[np.uint16] = np.ceil(np.clip(probability, 0.0, 1.0) * (FINE_LEVELS - 1) - 0.5).astype(np.uint16)
    return fine


def as_levels(stored: StoredLevels) -> NDArray[np.uint8]:
    """Return the nearest level, 0 to 255, of levels of 8 or 16 bits."""
    if stored.dtype == np.uint8:
        return cast(NDArray[np.uint8], stored)
    return (stored // _STEP).astype(np.uint8) + (stored % _STEP > _STEP // 2)


_SIGNIFICANT_BITS = 8
_BLOCK = 1 << 22


def _rank_of_fine_levels() -> NDArray[np.uint16]:
    """Round the distance of each fine level to the nearer end, 0 or 65535, down to 8 significant bits, and number them.

    The code of a distance is that of a floating-point number: exponent, then fraction, in the order of the distances.
    """
    fine = np.arange(FINE_LEVELS)
    distance = np.minimum(fine, FINE_LEVELS - 1 - fine)
    exponent = np.maximum(0, np.frexp(distance)[1] - _SIGNIFICANT_BITS)
    code = (exponent << (_SIGNIFICANT_BITS - 1)) + (distance >> exponent)
    return np.asarray(np.where(fine == distance, code, 2 * code.max() + 1 - code).astype(np.uint16))


_RANKS = _rank_of_fine_levels()

RANKS = int(_RANKS[-1]) + 1
"""Number of ranks of 16-bit levels, 2304."""


def rank_histogram(
    fine: StoredLevels, mask: NDArray[np.uint8], region: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """Compute the joint histogram of mask value and rank, from which areas under curves are computed.

    A network is sure of most pixels: with 256 levels, most of them are equal at level 0 or 255, and an area under a
    curve loses their order. Ranks keep it: near 0 and 1 each fine level has its own, and between them those that differ
    by less than 1/128 of their distance to 0 or 1 may share one. Fewer ranks than fine levels take less memory.

    Parameters
    ----------
    fine : (H, W) array of uint16
        Probability levels of 16 bits.
    mask : (H, W) array of uint8, values {0, 1}
    region : (H, W) array of bool, optional
        Pixels to count; by default all.

    Returns
    -------
    (2, 2304) array of int64
        ``[m, r]`` is the number of pixels with mask value m and rank r.
    """
    if region is not None:
        fine, mask = fine[region], mask[region]
    fine, mask = fine.ravel(), mask.ravel()
    total = np.zeros(2 * RANKS, np.int64)
    for start in range(0, fine.size, _BLOCK):  # NumPy needs 8 bytes for each index
        part = slice(start, start + _BLOCK)
        total += np.bincount(_RANKS[fine[part]] + np.uint16(RANKS) * mask[part], minlength=2 * RANKS)
    return total.reshape(2, RANKS)
