"""Paired comparisons: against SciPy's permutation test and bootstrap, on worked examples, and where nothing differs."""

import numpy as np
import pytest
import scipy.stats

from pipeline.evaluation import bootstrap, paired
from pipeline.evaluation.paired import compare_pairs, exact_p, holm


def scores(images, shift, seed=0):
    """Return scores of two methods, to six decimals."""
    rng = np.random.default_rng(seed)
    one = rng.beta(5, 2, images)
    return np.round(np.stack([one, np.clip(one + rng.normal(shift, 0.1, images), 0, 1)]), 6)


def difference(one, other, axis=-1):
    return np.mean(one - other, axis=axis)


@pytest.mark.parametrize(("images", "shift"), [(3, 0.2), (9, 0.05), (12, 0.1), (12, 0.0)])
def test_all_signs_give_scipys_p(images, shift):
    values = scores(images, shift)
    theirs = scipy.stats.permutation_test(
        tuple(values), difference, permutation_type="samples", n_resamples=np.inf, vectorized=True
    )
    ours = compare_pairs(values, [(0, 1), (1, 0)])
    assert ours.p == pytest.approx([theirs.pvalue] * 2, abs=1e-12)
    assert ours.difference == pytest.approx([theirs.statistic, -theirs.statistic], abs=1e-9)


def test_the_exact_p_of_worked_examples():
    assert exact_p(np.array([1.0, 2, 3, 4, 5])) == 2 / 32  # five wins of five
    assert exact_p(np.array([1.0, 1, 1, -1])) == 10 / 16
    assert exact_p(np.array([3.0, 0, 0])) == 1.0
    assert exact_p(np.array([2.0, -2])) == exact_p(np.zeros(4)) == 1.0
    # images that score the same turn nothing
    assert exact_p(np.array([1.0, 0, 2, 0, 3, 4, 5])) == 2 / 32


def test_drawn_signs_give_the_exact_p_within_their_error(monkeypatch):
    values = np.concatenate([scores(22, shift, seed) for seed, shift in enumerate((0.02, 0.06, 0.0, 0.04))])
    pairs = [(0, 1), (2, 3), (4, 5), (6, 7)]
    exact = compare_pairs(values, pairs)
    monkeypatch.setattr(paired, "EXACT", 0)
    drawn = compare_pairs(values, pairs)
    error = np.sqrt(exact.p * (1 - exact.p) / paired.DRAWS)
    assert (np.abs(drawn.p - exact.p) < 4 * error + 1 / paired.DRAWS).all()
    assert 0.0005 < exact.p.min() < 0.2
    np.testing.assert_array_equal(drawn.p, compare_pairs(values, pairs).p)
    assert (drawn.p != compare_pairs(values, pairs, seed=1).p).any()


def test_a_drawn_p_is_never_zero():
    values = scores(200, 0.0)
    values[1] = np.clip(values[0] + 0.1, 0, 2)
    assert compare_pairs(values, [(0, 1)]).p.tolist() == [1 / 10_001]


def test_the_interval_of_a_difference_is_that_of_the_differences():
    values = scores(30, 0.03)
    theirs = scipy.stats.bootstrap(
        tuple(values), difference, paired=True, n_resamples=bootstrap.RESAMPLES, method="percentile",
        confidence_level=1 - 2 * bootstrap.tail(30), rng=np.random.default_rng(bootstrap.SEED),
    )  # fmt: skip
    ours = compare_pairs(values, [(0, 1), (1, 0)])
    assert (ours.low[0], ours.high[0]) == pytest.approx(theirs.confidence_interval, abs=1e-9)
    assert (ours.low[1], ours.high[1]) == pytest.approx((-ours.high[0], -ours.low[0]), abs=1e-9)


@pytest.mark.parametrize("images", [15, 60])
def test_images_that_one_of_them_has_no_score_for_are_left_out(images):
    values = np.concatenate([scores(images, 0.05), scores(images, 0.05, seed=1)])
    values[1, :5] = values[2, 3:7] = values[3] = np.nan
    pairs = [(0, 1), (0, 2), (1, 2), (2, 3)]
    ours = compare_pairs(values, pairs)
    assert ours.images.tolist() == [images - 5, images - 4, images - 7, 0]
    assert np.isnan([*(part[3] for part in ours[1:])]).all()
    for number, (one, other) in enumerate(pairs[:3]):
        both = ~np.isnan(values[[one, other]]).any(axis=0)
        alone = compare_pairs(values[[one, other]][:, both], [(0, 1)])
        assert ours.difference[number] == pytest.approx(alone.difference[0], abs=1e-12)
        assert ours.p[number] == pytest.approx(alone.p[0], abs=0.02 if images > paired.EXACT else 1e-12)
        width = alone.high[0] - alone.low[0]
        assert (ours.low[number], ours.high[number]) == pytest.approx((alone.low[0], alone.high[0]), abs=0.25 * width)


def test_one_image_shows_nothing_and_equal_methods_do_not_differ():
    alone = compare_pairs(np.array([[0.3], [0.9]]), [(0, 1)])
    assert (alone.images[0], alone.p[0]) == (1, 1.0)
    assert np.isnan([alone.low[0], alone.high[0]]).all()
    same = compare_pairs(np.tile(scores(40, 0)[0], (2, 1)), [(0, 1)])
    assert (same.difference[0], same.low[0], same.high[0], same.p[0]) == (0.0, 0.0, 0.0, 1.0)


def test_where_nothing_differs_p_is_below_a_level_as_often_as_the_level_says():
    rng = np.random.default_rng(5)
    values = np.round(rng.normal(0.5, 0.1, (800, 10)), 6)
    p = compare_pairs(values, [(2 * k, 2 * k + 1) for k in range(400)]).p
    for level in (0.05, 0.2, 0.5):
        assert np.mean(p <= level) == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 400))


def test_holms_correction_of_a_worked_example():
    # p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm") in R
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.6, 0.9])).tolist() == [1.0, 1.0]
    assert holm(np.array([0.04])).tolist() == [0.04]
    assert holm(np.array([])).tolist() == []
