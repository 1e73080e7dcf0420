"""Paired comparisons: against SciPy's permutation test and bootstrap, examples by hand, and the null hypothesis."""

import numpy as np
import pytest
import scipy.stats

from pipeline.evaluation import bootstrap, paired
from pipeline.evaluation.paired import compare_pairs, exact_p, holm


def scores(images, shift, seed=0):
    """Return random scores of two methods with six decimals."""
    rng = np.random.default_rng(seed)
    first = rng.beta(5, 2, images)
    return np.round(np.stack([first, np.clip(first + rng.normal(shift, 0.1, images), 0, 1)]), 6)


def mean_difference(first, second, axis=-1):
    return np.mean(first - second, axis=axis)


@pytest.mark.parametrize(("images", "shift"), [(3, 0.2), (9, 0.05), (12, 0.1), (12, 0.0)])
def test_exact_p_equals_scipy(images, shift):
    values = scores(images, shift)
    reference = scipy.stats.permutation_test(
        tuple(values), mean_difference, permutation_type="samples", n_resamples=np.inf, vectorized=True
    )
    result = compare_pairs(values, [(0, 1), (1, 0)])
    assert result.p == pytest.approx([reference.pvalue] * 2, abs=1e-12)
    assert result.difference == pytest.approx([reference.statistic, -reference.statistic], abs=1e-9)


def test_exact_p_by_hand():
    assert exact_p(np.array([1.0, 2, 3, 4, 5])) == 2 / 32  # five wins of five
    assert exact_p(np.array([1.0, 1, 1, -1])) == 10 / 16
    assert exact_p(np.array([3.0, 0, 0])) == 1.0
    assert exact_p(np.array([2.0, -2])) == exact_p(np.zeros(4)) == 1.0
    # images with equal scores do not change the result
    assert exact_p(np.array([1.0, 0, 2, 0, 3, 4, 5])) == 2 / 32


def test_random_signs_approximate_exact_p(monkeypatch):
    values = np.concatenate([scores(22, shift, seed) for seed, shift in enumerate((0.02, 0.06, 0.0, 0.04))])
    pairs = [(0, 1), (2, 3), (4, 5), (6, 7)]
    exact = compare_pairs(values, pairs)
    monkeypatch.setattr(paired, "EXACT", 0)
    sampled = compare_pairs(values, pairs)
    error = np.sqrt(exact.p * (1 - exact.p) / paired.SIGN_FLIPS)
    assert (np.abs(sampled.p - exact.p) < 4 * error + 1 / paired.SIGN_FLIPS).all()
    assert 0.0005 < exact.p.min() < 0.2
    np.testing.assert_array_equal(sampled.p, compare_pairs(values, pairs).p)
    assert (sampled.p != compare_pairs(values, pairs, seed=1).p).any()


def test_p_of_random_signs_is_never_zero():
    values = scores(200, 0.0)
    values[1] = np.clip(values[0] + 0.1, 0, 2)
    assert compare_pairs(values, [(0, 1)]).p.tolist() == [1 / 10_001]


def test_interval_of_paired_difference_equals_scipy():
    values = scores(30, 0.03)
    reference = scipy.stats.bootstrap(
        tuple(values), mean_difference, paired=True, n_resamples=bootstrap.RESAMPLES, method="percentile",
        confidence_level=1 - 2 * bootstrap.tail_probability(30), rng=np.random.default_rng(bootstrap.SEED),
    )  # fmt: skip
    result = compare_pairs(values, [(0, 1), (1, 0)])
    assert (result.low[0], result.high[0]) == pytest.approx(reference.confidence_interval, abs=1e-9)
    assert (result.low[1], result.high[1]) == pytest.approx((-result.high[0], -result.low[0]), abs=1e-9)


@pytest.mark.parametrize("images", [15, 60])
def test_images_without_score_of_one_method_are_ignored(images):
    values = np.concatenate([scores(images, 0.05), scores(images, 0.05, seed=1)])
    values[1, :5] = values[2, 3:7] = values[3] = np.nan
    pairs = [(0, 1), (0, 2), (1, 2), (2, 3)]
    result = compare_pairs(values, pairs)
    assert result.images.tolist() == [images - 5, images - 4, images - 7, 0]
    assert np.isnan([*(values[3] for values in result[1:])]).all()
    for number, (first, second) in enumerate(pairs[:3]):
        shared = ~np.isnan(values[[first, second]]).any(axis=0)
        alone = compare_pairs(values[[first, second]][:, shared], [(0, 1)])
        assert result.difference[number] == pytest.approx(alone.difference[0], abs=1e-12)
        assert result.p[number] == pytest.approx(alone.p[0], abs=0.02 if images > paired.EXACT else 1e-12)
        width = alone.high[0] - alone.low[0]
        assert (result.low[number], result.high[number]) == pytest.approx(
            (alone.low[0], alone.high[0]), abs=0.25 * width
        )


def test_single_image_and_equal_methods_give_p_of_one():
    alone = compare_pairs(np.array([[0.3], [0.9]]), [(0, 1)])
    assert (alone.images[0], alone.p[0]) == (1, 1.0)
    assert np.isnan([alone.low[0], alone.high[0]]).all()
    equal = compare_pairs(np.tile(scores(40, 0)[0], (2, 1)), [(0, 1)])
    assert (equal.difference[0], equal.low[0], equal.high[0], equal.p[0]) == (0.0, 0.0, 0.0, 1.0)


def test_p_is_uniform_under_null_hypothesis():
    rng = np.random.default_rng(5)
    values = np.round(rng.normal(0.5, 0.1, (800, 10)), 6)
    p = compare_pairs(values, [(2 * k, 2 * k + 1) for k in range(400)]).p
    for level in (0.05, 0.2, 0.5):
        assert np.mean(p <= level) == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 400))


def test_holm_correction_equals_r():
    # p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm") in R
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.6, 0.9])).tolist() == [1.0, 1.0]
    assert holm(np.array([0.04])).tolist() == [0.04]
    assert holm(np.array([])).tolist() == []
