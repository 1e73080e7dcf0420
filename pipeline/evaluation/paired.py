"""Paired comparison on the same images: mean difference with its interval, sign-flip test, Holm's correction.

If two methods were equally good, each image's difference could as well have had the other sign. The test asks how
often random signs give a mean difference as far from 0 as the one that was found (Fisher, The Design of Experiments,
1935, section 21; Good, Permutation, Parametric and Bootstrap Tests of Hypotheses, 2005, chapter 3).
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.bootstrap import SEED, Samples, blocks, intervals, resampling_weights, weighted_sums

EXACT = 20
"""Where at most so many images differ, all 2^n signs count. The smallest p-value is then 2 / 2^n, which six decimals
still tell from 0."""

DRAWS = 10_000
"""Signs that are drawn where more images differ, at least."""

DRAWS_FOR_EACH = 40
"""Signs that are drawn for each comparison of a family, at least: with fewer, the smallest p-value that draws can give
would be too large to stay below 0.05 when it is corrected for many comparisons."""

_MICRO = 1e6  # scores stand in tables with six decimals: as whole numbers, their sums are exact and ties are ties
_SIGNS = 1024  # signs tried at a time


class Paired(NamedTuple):
    """Comparisons, (P,) arrays; those of a pair without common images are NaN.

    Parameters
    ----------
    images
        Images that both have a score for.
    difference
        Mean of the first one's score less the second one's.
    low, high
        Bootstrap interval of the difference; NaN with fewer than two images.
    p
        Of the two-sided sign-flip test.
    """

    images: NDArray[np.int64]
    difference: Samples
    low: Samples
    high: Samples
    p: Samples


def compare_pairs(
    values: NDArray[np.float64], pairs: Sequence[tuple[int, int]], draws: int = DRAWS, seed: int = SEED
) -> Paired:
    """Compare pairs of methods on the images that they share.

    Parameters
    ----------
    values : (E, N) array
        Score of each method and image, taken to six decimals; NaN where there is none.
    pairs : sequence of (int, int)
        At least one.
    draws, seed : int
        Of the signs, where more than `EXACT` images differ.

    Returns
    -------
    Paired
        The interval is that of `pipeline.evaluation.bootstrap`, with the same resamples for all pairs. Of drawn signs
        p is (1 + b) / (1 + draws), b of them giving a difference at least as large (Phipson, Smyth, Stat Appl Genet
        Mol Biol 9 (2010) 39): a p-value is never 0.
    """
    first, second = np.array(pairs).T
    there = ~np.isnan(values)
    whole = np.where(there, np.rint(values * _MICRO), 0.0)
    shared = there[first] & there[second]
    differences = np.where(shared, whole[first] - whole[second], 0.0)
    images, sums = shared.sum(axis=1), differences.sum(axis=1)
    # sums over all images are differences of the methods' sums, and methods are fewer than pairs
    simple = bool(there.all())
    columns = whole.T if simple else differences.T

    def of_pairs(products: Samples) -> Samples:
        return np.asarray(products[first] - products[second]) if simple else products

    weights = resampling_weights(values.shape[1])
    with np.errstate(invalid="ignore", divide="ignore"):
        compared = np.float64(values.shape[1]) if simple else weighted_sums(weights, shared.T).T
        resampled = of_pairs(weighted_sums(weights, columns).T) / compared / _MICRO
        difference = sums / images / _MICRO
    low, high = intervals(resampled.T, images)
    p = np.where(images > 0, 1.0, np.nan)
    few = np.count_nonzero(differences, axis=1) <= EXACT
    for pair in np.flatnonzero(few & (images > 0)):
        p[pair] = exact_p(differences[pair])
    if not few.all():
        as_far = np.zeros(len(pairs), np.int64)
        for signs in _random_signs(values.shape[1], draws, seed):
            as_far += np.count_nonzero(np.abs(of_pairs(columns.T @ signs)) >= np.abs(sums)[:, None], axis=1)
        p = np.where(few, p, (1 + as_far) / (1 + draws))
    return Paired(images, difference, low, high, p)


def exact_p(differences: NDArray[np.float64]) -> float:
    """Return the p-value of the two-sided sign-flip test over all signs.

    Parameters
    ----------
    differences : (n,) array
        Whole numbers, few of them other than 0: these alone can turn.

    Returns
    -------
    float
        The share of the 2^n sums with signs that are as far from 0 as the sum without.
    """
    differ = differences[differences != 0]
    far = abs(float(differ.sum()))
    if far == 0:
        return 1.0
    # the sums of one half, each with all sums of the other half, without putting them together
    half = len(differ) // 2
    ours, theirs = _signed_sums(differ[:half]), np.sort(_signed_sums(differ[half:]))
    above = len(theirs) - np.searchsorted(theirs, far - ours, side="left")
    below = np.searchsorted(theirs, -far - ours, side="right")
    return float((above.sum() + below.sum()) / 2.0 ** len(differ))


def _signed_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def _random_signs(number: int, draws: int, seed: int) -> Iterator[Samples]:
    """Yield random signs, (number, some) arrays."""
    rng = np.random.default_rng(seed)
    for some in blocks(draws, _SIGNS):
        count = number * (some.stop - some.start)
        bits = np.unpackbits(np.frombuffer(rng.bytes(-(-count // 8)), np.uint8), count=count)
        yield np.where(bits, 1.0, -1.0).reshape(number, -1)


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correct the p-values of a family of comparisons for their number (Holm, Scand J Statist 6 (1979) 65).

    Parameters
    ----------
    p : (M,) array

    Returns
    -------
    (M,) array
        The k-th smallest, from 0, times M - k, at least as large as those before it and at most 1. Where a result is
        called a difference if this is below 0.05, any false one at all is among them in at most 5 % of families.
    """
    order = np.argsort(p, kind="stable")
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return corrected
