"""Bootstrap over images: how far a score may be off because other images could have been taken.

A resample draws as many images as there are, with replacement. What matters of it is how often each image was
drawn, so all resamples are one matrix of weights (resamples, images), and every sum over the images of a resample
is a product with that matrix: no resample is ever put together.

The interval is the percentile interval (Efron, Tibshirani: An Introduction to the Bootstrap, 1993, chapter 13) with the
tails widened for few images (Hesterberg, The American Statistician 69 (2015) 371, "expanded percentile"). The BCa
interval (DiCiccio, Efron, Statistical Science 11 (1996) 189) was not taken: its acceleration is estimated from the same
few images, it does not exist where all images score the same, and it stays as narrow as the percentile interval
where images are few.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

RESAMPLES = 2000
"""Resamples of an interval: its ends then move by one or two hundredths of its width from seed to seed."""

LEVEL = 0.95
"""How much of the distribution lies between the ends of an interval."""

SEED = 0
"""Of the resamples. They depend on nothing but this and the number of images, so that two experiments on the same
images are resampled alike."""

_DRAWN = 1 << 22  # numbers drawn at a time
_IMAGES = 512  # images multiplied at a time

Weights = NDArray[np.uint16]
Samples = NDArray[np.float64]


class Interval(NamedTuple):
    """Ends of an interval, and what it rests on; ends are NaN where fewer than two images have a score.

    Parameters
    ----------
    low, high : float
    resamples : int
        Resamples in which the score exists.
    images : int
        Images that the score is made from.
    """

    low: float
    high: float
    resamples: int
    images: int


def resampling_weights(images: int, resamples: int = RESAMPLES, seed: int = SEED) -> Weights:
    """Draw resamples of images.

    Parameters
    ----------
    images : int
        N, at least 1.
    resamples, seed : int

    Returns
    -------
    (resamples, N) array of uint16
        How often each image stands in each resample; rows sum to N.
    """
    rng = np.random.default_rng(seed)
    weights = np.empty((resamples, images), np.uint16)
    for rows in blocks(resamples, max(1, _DRAWN // images)):
        count = rows.stop - rows.start
        drawn = rng.integers(images, size=(count, images)) + images * np.arange(count)[:, None]
        weights[rows] = np.bincount(drawn.ravel(), minlength=count * images).reshape(count, images)
    return weights


def blocks(length: int, size: int = _IMAGES) -> Iterator[slice]:
    """Cut a length into slices of at most `size`."""
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))


def weighted_sums(weights: Weights, columns: NDArray[Any]) -> Samples:
    """Sum columns over the images of each resample.

    Parameters
    ----------
    weights : (B, N) array
    columns : (N, C) array
        Sums of whole numbers are exact up to 2^53.

    Returns
    -------
    (B, C) array of float64
    """
    total = np.zeros((len(weights), columns.shape[1]))
    for some in blocks(len(columns)):
        total += weights[:, some].astype(np.float64) @ columns[some].astype(np.float64)
    return total


def resampled_means(weights: Weights, values: NDArray[np.float64]) -> Samples:
    """Average each column over the images of each resample that have a value.

    Parameters
    ----------
    weights : (B, N) array
    values : (N, C) array
        NaN where an image has no such score.

    Returns
    -------
    (B, C) array of float64
        A ratio of sums; NaN where no image of a resample has a value.
    """
    there = ~np.isnan(values)
    counts = weighted_sums(weights, there)
    sums = weighted_sums(weights, np.where(there, values, 0.0))
    return np.where(counts > 0, sums / np.maximum(counts, 1.0), np.nan)


def tail(images: int, level: float = LEVEL) -> float:
    """Return the share of the resamples below the lower end of an interval, and above the upper one.

    The normal tail at sqrt(n / (n - 1)) t, with t the quantile of Student's t with n - 1 degrees of freedom
    (Hesterberg 2015): for many images (1 - level) / 2, for few of them less, because n images spread
    less than what they were drawn from, and their spread is itself an estimate.
    """
    outer = np.sqrt(images / (images - 1)) * stdtrit(images - 1, (1 - level) / 2)
    return float(ndtr(outer))


def intervals(values: Samples, images: NDArray[np.int64], level: float = LEVEL) -> tuple[Samples, Samples]:
    """Return the lower and upper ends of the intervals of several scores.

    Parameters
    ----------
    values : (B, C) array
        NaN in a resample that has no such score.
    images : (C,) array
        Images that each score is made from.
    level : float

    Returns
    -------
    (C,) arrays of float64
        NaN where there are fewer than two images.
    """
    ends = np.full((2, values.shape[1]), np.nan)
    gaps = np.isnan(values)
    shown = ~gaps.all(axis=0) & (images > 1)
    for count in np.unique(images[shown]):
        outer = tail(int(count), level)
        for some, quantile in ((~gaps.any(axis=0), np.quantile), (gaps.any(axis=0), np.nanquantile)):
            chosen = shown & some & (images == count)
            if chosen.any():
                ends[:, chosen] = quantile(values[:, chosen], [outer, 1 - outer], axis=0)
    return ends[0], ends[1]


def interval_of_each(values: Samples, images: NDArray[np.int64], level: float = LEVEL) -> list[Interval]:
    """Return `intervals` one by one, with what they rest on."""
    low, high = intervals(values, images, level)
    known = np.where(images > 1, np.count_nonzero(~np.isnan(values), axis=0), 0)
    return list(map(Interval._make, zip(low.tolist(), high.tolist(), known.tolist(), images.tolist(), strict=True)))
