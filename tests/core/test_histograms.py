"""Joint histograms equal those of a pixel-by-pixel reference implementation."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from oracles import histogram_by_definition

from pipeline.core import counts
from pipeline.core.counts import joint_histogram


@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.integers(0, 40), st.sampled_from([0.0, 0.1, 0.6, 1.0]))
def test_joint_histograms_equal_their_definition(seed, height, width, share):
    rng = np.random.default_rng(seed)
    levels = rng.integers(0, 256, (height, width), np.uint8)
    mask = (rng.random((height, width)) < share).astype(np.uint8)
    region = rng.random((height, width)) < 0.5
    for subset in (None, region, np.zeros_like(region)):
        histogram = joint_histogram(levels, mask, subset)
        assert (histogram.dtype, histogram.shape) == (np.int64, (2, 256))
        np.testing.assert_array_equal(histogram, histogram_by_definition(levels, mask, subset))
    rotated = levels.T[::-1], mask.T[::-1]  # not contiguous
    np.testing.assert_array_equal(joint_histogram(*rotated), histogram_by_definition(*rotated))


def test_counts_beyond_float32_precision_are_exact(monkeypatch):
    levels = np.full((1, 2**24 + 3), 7, np.uint8)
    levels[0, :2] = 9
    histogram = joint_histogram(levels, np.zeros_like(levels))
    assert (histogram[0, 7], histogram[0, 9], histogram.sum()) == (2**24 + 1, 2, 2**24 + 3)
    monkeypatch.setattr(counts, "_MAX_EXACT", 5)
    rng = np.random.default_rng(0)
    levels, mask = rng.integers(0, 256, (9, 7), np.uint8), rng.integers(0, 2, (9, 7), np.uint8)
    np.testing.assert_array_equal(joint_histogram(levels, mask), histogram_by_definition(levels, mask))
