"""Paired comparison on the same images: mean difference with its interval, sign-flip test, Holm's correction.

If two methods are equally good, both signs of each image's difference are equally probable. The p-value is the fraction
of sign combinations whose mean difference is at least as far from 0 as the observed one (Fisher, The Design of
Experiments, 1935, section 21; Good, Permutation, Parametric and Bootstrap Tests of Hypotheses, 2005, chapter 3).
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.bootstrap import SEED, FloatArray, blocks, intervals, resampling_weights, weighted_sums

EXACT = 20
"""If at most this number n of images differ, the test is exact, over all 2^n signs. The smallest p-value is then
2 / 2^n, which is not 0 with six decimals."""

SIGN_FLIPS = 10_000
"""Minimum number of random sign combinations if more than `EXACT` images differ."""

SIGN_FLIPS_PER_COMPARISON = 40
"""Minimum number of random sign combinations for each comparison of a family: with fewer, the smallest possible p-value
would exceed 0.05 after the correction for many comparisons."""

_SCALE = 1e6  # tables have six decimals: scaled to integers, scores have exact sums and exact ties
_BLOCK = 1024  # sign combinations of one matrix product


class PairedComparisons(NamedTuple):
    """Results of P comparisons, (P,) arrays; NaN for a pair without common images.

    Parameters
    ----------
    images
        Number of images for which both methods have a score.
    difference
        Mean of the first method's scores minus the second method's.
    low, high
        Bootstrap interval of the difference; NaN with fewer than two images.
    p
        p-value of the two-sided sign-flip test.
    """

    images: NDArray[np.int64]
    difference: FloatArray
    low: FloatArray
    high: FloatArray
    p: FloatArray


def compare_pairs(
    values: NDArray[np.float64], pairs: Sequence[tuple[int, int]], sign_flips: int = SIGN_FLIPS, seed: int = SEED
) -> PairedComparisons:
    """Compare pairs of methods on their common images.

    Parameters
    ----------
    values : (E, N) array
        Score of each method and image, rounded to six decimals; NaN without a score.
    pairs : sequence of (int, int)
        Row indices of the two methods of each pair; at least one pair.
    sign_flips, seed : int
        Number and seed of the random sign combinations, if more than `EXACT` images differ.

    Returns
    -------
    PairedComparisons
        The interval is that of `pipeline.evaluation.bootstrap`, with the same resamples for all pairs. With random
        signs p = (1 + b) / (1 + sign_flips), where b is the number of random signs whose mean difference is at least as
        far from 0 as the observed one (Phipson, Smyth, Stat Appl Genet Mol Biol 9 (2010) 39). So p is never 0.
    """
    first, second = np.array(pairs).T
    valid = ~np.isnan(values)
    scaled = np.where(valid, np.rint(values * _SCALE), 0.0)
    shared = valid[first] & valid[second]
    differences = np.where(shared, scaled[first] - scaled[second], 0.0)
    images, sums = shared.sum(axis=1), differences.sum(axis=1)
    # if no score is missing, without missing scores, sums are computed for each method and then subtracted
    complete = bool(valid.all())
    columns = scaled.T if complete else differences.T

    def pair_differences(products: FloatArray) -> FloatArray:
        return np.asarray(products[first] - products[second]) if complete else products

    weights = resampling_weights(values.shape[1])
    with np.errstate(invalid="ignore", divide="ignore"):
        resampled_images = np.float64(values.shape[1]) if complete else weighted_sums(weights, shared.T).T
        resampled = pair_differences(weighted_sums(weights, columns).T) / resampled_images / _SCALE
        difference = sums / images / _SCALE
    low, high = intervals(resampled.T, images)
    p = np.where(images > 0, 1.0, np.nan)
    exact = np.count_nonzero(differences, axis=1) <= EXACT
    for pair in np.flatnonzero(exact & (images > 0)):
        p[pair] = exact_p(differences[pair])
    if not exact.all():
        extreme = np.zeros(len(pairs), np.int64)
        for signs in _random_signs(values.shape[1], sign_flips, seed):
            extreme += np.count_nonzero(np.abs(pair_differences(columns.T @ signs)) >= np.abs(sums)[:, None], axis=1)
        p = np.where(exact, p, (1 + extreme) / (1 + sign_flips))
    return PairedComparisons(images, difference, low, high, p)


def exact_p(differences: NDArray[np.float64]) -> float:
    """Return the p-value of the two-sided sign-flip test over all signs.

    Parameters
    ----------
    differences : (n,) array
        Integers, few of them nonzero, because only nonzero differences are flipped.

    Returns
    -------
    float
        The fraction of the 2^n signed sums that are at least as far from 0 as the observed sum.
    """
    nonzero = differences[differences != 0]
    observed = abs(float(nonzero.sum()))
    if observed == 0:
        return 1.0
    # count pairs of sums of the two halves by binary search, instead of computing all 2^n sums
    half = len(nonzero) // 2
    first_sums, second_sums = _signed_sums(nonzero[:half]), np.sort(_signed_sums(nonzero[half:]))
    upper = len(second_sums) - np.searchsorted(second_sums, observed - first_sums, side="left")
    lower = np.searchsorted(second_sums, -observed - first_sums, side="right")
    return float((upper.sum() + lower.sum()) / 2.0 ** len(nonzero))


def _signed_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums of the values with all combinations of signs."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def _random_signs(images: int, sign_flips: int, seed: int) -> Iterator[FloatArray]:
    """Yield random signs in blocks, (images, block) arrays."""
    rng = np.random.default_rng(seed)
    for block in blocks(sign_flips, _BLOCK):
        count = images * (block.stop - block.start)
        bits = np.unpackbits(np.frombuffer(rng.bytes(-(-count // 8)), np.uint8), count=count)
        yield np.where(bits, 1.0, -1.0).reshape(images, -1)


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correct the p-values of a family of comparisons for their number (Holm, Scand J Statist 6 (1979) 65).

    Parameters
    ----------
    p : (M,) array

    Returns
    -------
    (M,) array
        The k-th smallest p-value, k from 0, times M - k; at least as large as the smaller ones, and at most 1. If
        differences with values below 0.05 are called significant, at most 5 % of families have any false positive.
    """
    order = np.argsort(p, kind="stable")
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return corrected
