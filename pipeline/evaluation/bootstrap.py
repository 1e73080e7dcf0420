"""Bootstrap over images: confidence intervals for the variation of a score between samples of images.

A resample selects as many images as there are, at random with replacement. Only the number of times that each image is
selected matters, so all resamples are one weight matrix (resamples, images), and every sum over the images of a
resample is a product with this matrix; no resample is materialized.

The interval is the percentile interval (Efron, Tibshirani: An Introduction to the Bootstrap, 1993, chapter 13) with the
tails widened for few images (Hesterberg, The American Statistician 69 (2015) 371, "expanded percentile"). The BCa
interval (DiCiccio, Efron, Statistical Science 11 (1996) 189) is not used: its acceleration is estimated from the same
few images, it does not exist if all images have the same score, and for few images it is as narrow as the percentile
interval.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

RESAMPLES = 2000
"""Resamples of an interval: its ends then vary by 1 to 2 % of its width between seeds."""

LEVEL = 0.95
"""Confidence level: the fraction of the distribution between the ends of an interval."""

SEED = 0
"""Seed of the resamples. They depend only on it and on the number of images, so that two experiments on the same images
have the same resamples."""

_MAX_RANDOM_NUMBERS = 1 << 22  # random numbers generated at a time
_BLOCK = 512  # images of one matrix product

Weights = NDArray[np.uint16]
FloatArray = NDArray[np.float64]


class Interval(NamedTuple):
    """Ends of an interval, and the numbers that it is based on; ends are NaN if fewer than two images have a score.

    Parameters
    ----------
    low, high : float
    resamples : int
        Resamples in which the score is defined.
    images : int
        Images that the score is computed from.
    """

    low: float
    high: float
    resamples: int
    images: int


def resampling_weights(images: int, resamples: int = RESAMPLES, seed: int = SEED) -> Weights:
    """Generate bootstrap resamples of images.

    Parameters
    ----------
    images : int
        N, at least 1.
    resamples, seed : int

    Returns
    -------
    (resamples, N) array of uint16
        Number of times that each resample contains each image; rows sum to N.
    """
    rng = np.random.default_rng(seed)
    weights = np.empty((resamples, images), np.uint16)
    for rows in blocks(resamples, max(1, _MAX_RANDOM_NUMBERS // images)):
        count = rows.stop - rows.start
        selected = rng.integers(images, size=(count, images)) + images * np.arange(count)[:, None]
        weights[rows] = np.bincount(selected.ravel(), minlength=count * images).reshape(count, images)
    return weights


def blocks(length: int, size: int = _BLOCK) -> Iterator[slice]:
    """Divide a length into slices of at most `size`."""
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))


def weighted_sums(weights: Weights, columns: NDArray[Any]) -> FloatArray:
    """Sum columns over the images of each resample.

    Parameters
    ----------
    weights : (B, N) array
    columns : (N, C) array
        Sums of integers are exact up to 2^53.

    Returns
    -------
    (B, C) array of float64
    """
    total = np.zeros((len(weights), columns.shape[1]))
    for block in blocks(len(columns)):
        total += weights[:, block].astype(np.float64) @ columns[block].astype(np.float64)
    return total


def resampled_means(weights: Weights, values: NDArray[np.float64]) -> FloatArray:
    """Average each column over the images of each resample that have a value.

    Parameters
    ----------
    weights : (B, N) array
    values : (N, C) array
        NaN if an image has no such score.

    Returns
    -------
    (B, C) array of float64
        A ratio of sums; NaN if no image of a resample has a value.
    """
    valid = ~np.isnan(values)
    counts = weighted_sums(weights, valid)
    sums = weighted_sums(weights, np.where(valid, values, 0.0))
    return np.where(counts > 0, sums / np.maximum(counts, 1.0), np.nan)


def tail_probability(images: int, level: float = LEVEL) -> float:
    """Return the fraction of resamples below the lower end of an interval; it equals the fraction above the upper end.

    The normal tail probability at sqrt(n / (n - 1)) t, with t the quantile of Student's t with n - 1 degrees of freedom
    (Hesterberg 2015): (1 - level) / 2 for many images, less for few, because the variance of n images underestimates
    that of their population and is itself an estimate.
    """
    quantile = np.sqrt(images / (images - 1)) * stdtrit(images - 1, (1 - level) / 2)
    return float(ndtr(quantile))


def intervals(values: FloatArray, images: NDArray[np.int64], level: float = LEVEL) -> tuple[FloatArray, FloatArray]:
    """Return the lower and upper ends of the intervals of several scores.

    Parameters
    ----------
    values : (B, C) array
        NaN if a resample has no such score.
    images : (C,) array
        Images that each score is computed from.
    level : float

    Returns
    -------
    (C,) arrays of float64
        NaN for fewer than two images.
    """
    ends = np.full((2, values.shape[1]), np.nan)
    missing = np.isnan(values)
    has_interval = ~missing.all(axis=0) & (images > 1)
    for count in np.unique(images[has_interval]):
        tail = tail_probability(int(count), level)
        for subset, quantile in ((~missing.any(axis=0), np.quantile), (missing.any(axis=0), np.nanquantile)):
            selected = has_interval & subset & (images == count)
            if selected.any():
                ends[:, selected] = quantile(values[:, selected], [tail, 1 - tail], axis=0)
    return ends[0], ends[1]


def list_intervals(values: FloatArray, images: NDArray[np.int64], level: float = LEVEL) -> list[Interval]:
    """Return `intervals` as a list, with the numbers that each is based on."""
    low, high = intervals(values, images, level)
    resamples = np.where(images > 1, np.count_nonzero(~np.isnan(values), axis=0), 0)
    return list(map(Interval._make, zip(low.tolist(), high.tolist(), resamples.tolist(), images.tolist(), strict=True)))
