import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from pipeline.core import fine_levels
from pipeline.core.counts import joint_histogram, to_levels
from pipeline.core.fine_levels import FINE_LEVELS, RANKS, as_levels, quantize, rank_histogram
from pipeline.evaluation.curves import average_precision, roc_auc

FINE = np.arange(FINE_LEVELS, dtype=np.uint16)


def test_sixteen_bits_are_rounded_to_the_same_levels_as_probabilities():
    probability = np.random.default_rng(0).random(200_000, dtype=np.float32)
    boundaries = (np.arange(255) + 0.5) / 255
    near = np.concatenate([boundaries - 1e-9, boundaries + 1e-9])
    for values in (probability, boundaries, near, np.array([-0.5, 0.0, 1.0, 1.5])):
        np.testing.assert_array_equal(as_levels(quantize(values, 16)), to_levels(values))
        np.testing.assert_array_equal(quantize(values, 8), to_levels(values))
    np.testing.assert_array_equal(as_levels(FINE), to_levels(FINE / 65535))
    np.testing.assert_array_equal(quantize((FINE / 65535).astype(np.float32), 16), FINE)
    assert quantize(np.array([0.5 / 65535, 1.5 / 65535]), 16).tolist() == [0, 1]  # halves down


def test_ranks_keep_the_order_of_levels_and_are_finest_at_both_ends():
    ranks = np.array([rank_histogram(FINE[None, [level]], np.zeros((1, 1), np.uint8))[0].argmax() for level in FINE])
    assert ranks[0] == 0
    assert ranks[-1] == RANKS - 1 == 2303
    steps = np.diff(ranks)
    assert set(steps) == {0, 1}
    np.testing.assert_array_equal(steps, steps[::-1])
    assert steps[:255].all()
    starts = np.flatnonzero(np.insert(steps, 0, 1))
    lower = starts[starts < FINE_LEVELS // 2]
    assert (np.diff(lower) <= np.maximum(1, lower[:-1] / 128)).all()


def test_blocks_do_not_change_counts(monkeypatch):
    mask = (FINE % 3 == 0).astype(np.uint8)
    whole = rank_histogram(FINE, mask)
    monkeypatch.setattr(fine_levels, "_BLOCK", 1000)
    np.testing.assert_array_equal(rank_histogram(FINE, mask), whole)
    assert not rank_histogram(FINE, mask, np.zeros(FINE.shape, bool)).any()


def test_areas_of_a_sure_network_equal_those_of_its_probabilities():
    """Half of the pixels have a probability below 1/510: 8 bits lose their order."""
    rng = np.random.default_rng(1)
    mask = (rng.random((200, 300)) < 0.1).astype(np.uint8)
    region = rng.random(mask.shape) < 0.7
    logit = rng.normal(np.where(mask == 1, -2.0, -7.0), 2.0)
    probability = (1 / (1 + np.exp(-logit))).astype(np.float32)
    ranks = rank_histogram(quantize(probability, 16), mask, region)
    assert ranks.sum() == region.sum()
    assert ranks[1].sum() == mask[region].sum()
    levels = joint_histogram(to_levels(probability), mask, region)
    for area, reference, tolerance in (
        (roc_auc, roc_auc_score, 1e-5),
        (average_precision, average_precision_score, 5e-4),
    ):
        expected = reference(mask[region], probability[region])
        assert float(area(ranks)) == pytest.approx(expected, abs=tolerance)
        assert abs(float(area(levels)) - expected) > 1e-3
