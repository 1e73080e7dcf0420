import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.counts import Confusion, absolute_error, confusion, cut_level, dice, joint_histogram, to_levels
from pipeline.evaluation.criteria import best_threshold
from pipeline.evaluation.curves import roc_auc
from pipeline.evaluation.metrics import METRICS, POOLED
from pipeline.evaluation.scores import iou, mcc, precision, recall, specificity

RNG = np.random.default_rng(3)
OF_COUNTS = [metric for metric in METRICS.values() if metric.of == "counts"]


def image(seed=0, share=0.3):
    rng = np.random.default_rng(seed)
    mask = (rng.random((31, 23)) < share).astype(np.uint8)
    probability = np.clip(0.6 * mask + rng.random((31, 23)) * 0.5, 0, 1)
    return mask, probability, rng.random((31, 23)) < 0.7


@given(st.integers(0, 30), st.sampled_from([0.0, 0.25, 0.5, 0.7312, 0.999]))
def test_counts_are_those_of_a_plain_comparison(seed, threshold):
    mask, probability, region = image(seed)
    levels = to_levels(probability)
    histogram = joint_histogram(levels, mask, region)
    predicted, true = (levels / 255 > threshold)[region], (mask == 1)[region]
    counts = confusion(histogram, cut_level(threshold))
    assert counts.tp == (predicted & true).sum()
    assert counts.fp == (predicted & ~true).sum()
    assert counts.fn == (~predicted & true).sum()
    assert counts.tn == (~predicted & ~true).sum()
    everywhere = confusion(histogram)
    for name in Confusion._fields:
        assert getattr(everywhere, name)[cut_level(threshold)] == getattr(counts, name)
    assert absolute_error(histogram) == pytest.approx(np.abs(levels / 255 - mask)[region].mean())


def test_quantization_rounds_and_clips():
    np.testing.assert_array_equal(to_levels(np.array([-1.0, 0.0, 0.5, 1.0, 7.0])), [0, 0, 128, 255, 255])
    levels = np.arange(256) / 255
    np.testing.assert_array_equal(to_levels(levels), np.arange(256))


def test_every_score_by_hand():
    counts = Confusion(*map(np.array, (30, 10, 20, 140)))
    expected = {
        "precision": 30 / 40,
        "recall": 30 / 50,
        "f1": 60 / 90,
        "dice": 60 / 90,
        "iou": 30 / 60,
        "specificity": 140 / 150,
        "accuracy": 170 / 200,
        "mcc": (30 * 140 - 10 * 20) / (40 * 50 * 150 * 160) ** 0.5,
    }
    assert {name: float(POOLED[name].function(counts, 1.0)) for name in expected} == pytest.approx(expected)


def test_empty_masks_and_predictions():
    both, only_mask, only_prediction = (
        Confusion(*map(np.array, counts)) for counts in ((0, 0, 0, 9), (0, 0, 4, 5), (0, 3, 0, 6))
    )
    for metric in (precision, recall, iou, dice):
        assert metric(both, 1.0) == 1.0
        assert np.isnan(metric(both, np.nan))
        assert metric(only_mask, 1.0) == 0.0
        assert metric(only_prediction, 1.0) == 0.0
    assert specificity(Confusion(*map(np.array, (4, 0, 0, 0)))) == 1.0
    assert mcc(both, 1.0) == mcc(Confusion(*map(np.array, (4, 0, 0, 0))), np.nan) == 1.0
    assert np.isnan(mcc(both, np.nan))
    assert mcc(only_mask, 1.0) == mcc(only_prediction, np.nan) == 0.0


def test_a_image_without_a_pixel_that_counts_has_no_score():
    for metric in OF_COUNTS:
        assert np.isnan(metric.function(Confusion(*map(np.array, (0, 0, 0, 0))), 1.0))


def test_scores_of_many_images_at_once():
    histograms = np.stack([joint_histogram(to_levels(p), m) for m, p, _ in map(image, range(5))])
    together = confusion(histograms, 100)
    for row in range(5):
        one = confusion(histograms[row], 100)
        for metric in OF_COUNTS:
            assert metric.function(together, 1.0)[row] == metric.function(one, 1.0)


def test_the_best_threshold_is_the_best_of_all_256():
    histograms = np.stack([joint_histogram(to_levels(p), m) for m, p, _ in map(image, range(4))])
    threshold, score = best_threshold(histograms)
    everywhere = [float(dice(confusion(histograms.sum(axis=0), cut))) for cut in range(255)]
    assert score == max(everywhere)
    assert everywhere[cut_level(threshold)] == max(everywhere)


def test_a_perfect_prediction_gets_a_threshold_in_the_middle():
    mask = (RNG.random((20, 20)) < 0.5).astype(np.uint8)
    threshold, score = best_threshold(joint_histogram(mask * np.uint8(255), mask)[None])
    assert score == 1.0
    assert 0.45 < threshold < 0.55


def test_max_f_by_hand():
    from pipeline.core.counts import LEVELS, max_f

    # two images of four pixels; levels 255, 255, 0, 0 each; masks 1, 1, 0, 0 and 1, 0, 1, 0
    levels = np.array([[255, 255], [0, 0]], dtype=np.uint8)
    masks = [np.array([[1, 1], [0, 0]], dtype=np.uint8), np.array([[1, 0], [1, 0]], dtype=np.uint8)]
    histograms = np.stack([joint_histogram(levels, mask) for mask in masks])
    precision, recall = (1 + 0.5) / 2, (1 + 0.5) / 2
    assert max_f(histograms) == pytest.approx(1.3 * precision * recall / (0.3 * precision + recall))
    empty = joint_histogram(levels, np.zeros_like(levels))
    assert max_f(np.stack([*histograms, empty])) == pytest.approx(max_f(histograms))
    assert np.isnan(max_f(empty[None]))
    assert empty.shape == (2, LEVELS)


def test_the_area_under_the_roc_curve_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(5)
    levels = rng.integers(0, 256, (20, 15)).astype(np.uint8)
    mask = (rng.random((20, 15)) < levels / 400).astype(np.uint8)
    foreground, background = levels[mask == 1].astype(int), levels[mask == 0].astype(int)
    order = np.sign(foreground[:, None] - background[None, :])
    expected = ((order + 1) / 2).mean()
    histogram = joint_histogram(levels, mask)
    assert float(roc_auc(histogram)) == pytest.approx(expected)
    assert float(roc_auc(np.stack([histogram] * 3))[1]) == pytest.approx(expected)
    assert np.isnan(roc_auc(joint_histogram(levels, np.zeros_like(mask))))


def test_the_area_under_the_roc_curve_of_ten_thousand_million_pixels():
    histogram = np.zeros((2, 256), dtype=np.int64)
    histogram[0, [0, 255]] = 4_000_000_000, 1_000_000_000
    histogram[1, 255] = 5_000_000_000
    assert float(roc_auc(histogram)) == pytest.approx(0.9)
