"""Pixels are counted as one would count them one at a time, on any image."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from oracles import histogram_by_definition

from pipeline.core import counts
from pipeline.core.counts import joint_histogram


@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.integers(0, 40), st.sampled_from([0.0, 0.1, 0.6, 1.0]))
def test_counts_are_the_same(seed, height, width, share):
    rng = np.random.default_rng(seed)
    levels = rng.integers(0, 256, (height, width), np.uint8)
    mask = (rng.random((height, width)) < share).astype(np.uint8)
    region = rng.random((height, width)) < 0.5
    for some in (None, region, np.zeros_like(region)):
        found = joint_histogram(levels, mask, some)
        assert (found.dtype, found.shape) == (np.int64, (2, 256))
        np.testing.assert_array_equal(found, histogram_by_definition(levels, mask, some))
    turned = levels.T[::-1], mask.T[::-1]  # neither is contiguous
    np.testing.assert_array_equal(joint_histogram(*turned), histogram_by_definition(*turned))


def test_counts_beyond_the_whole_numbers_of_float32_are_exact(monkeypatch):
    levels = np.full((1, 2**24 + 3), 7, np.uint8)
    levels[0, :2] = 9
    found = joint_histogram(levels, np.zeros_like(levels))
    assert (found[0, 7], found[0, 9], found.sum()) == (2**24 + 1, 2, 2**24 + 3)
    monkeypatch.setattr(counts, "_MAX_EXACT", 5)
    rng = np.random.default_rng(0)
    levels, mask = rng.integers(0, 256, (9, 7), np.uint8), rng.integers(0, 2, (9, 7), np.uint8)
    np.testing.assert_array_equal(joint_histogram(levels, mask), histogram_by_definition(levels, mask))
