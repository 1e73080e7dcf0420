import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.counts import Confusion, absolute_error, confusion, dice, joint_histogram, threshold_level, to_levels
from pipeline.evaluation.criteria import best_threshold
from pipeline.evaluation.curves import roc_auc
from pipeline.evaluation.metrics import METRICS, POOLED
from pipeline.evaluation.scores import iou, mcc, precision, recall, specificity
from pipeline.prediction.ensemble import mean_levels
from pipeline.training.data import Batch
from pipeline.training.validate import _histograms

RNG = np.random.default_rng(3)
COUNT_METRICS = [metric for metric in METRICS.values() if metric.input == "counts"]


def image(seed=0, fraction=0.3):
    rng = np.random.default_rng(seed)
    mask = (rng.random((31, 23)) < fraction).astype(np.uint8)
    probability = np.clip(0.6 * mask + rng.random((31, 23)) * 0.5, 0, 1)
    return mask, probability, rng.random((31, 23)) < 0.7


@given(st.integers(0, 30), st.sampled_from([0.0, 0.25, 0.5, 0.7312, 0.999]))
def test_counts_equal_direct_comparison(seed, threshold):
    mask, probability, region = image(seed)
    levels = to_levels(probability)
    histogram = joint_histogram(levels, mask, region)
    predicted, true = (levels / 255 > threshold)[region], (mask == 1)[region]
    counts = confusion(histogram, threshold_level(threshold))
    assert counts.tp == (predicted & true).sum()
    assert counts.fp == (predicted & ~true).sum()
    assert counts.fn == (~predicted & true).sum()
    assert counts.tn == (~predicted & ~true).sum()
    at_all_levels = confusion(histogram)
    for name in Confusion._fields:
        assert getattr(at_all_levels, name)[threshold_level(threshold)] == getattr(counts, name)
    assert absolute_error(histogram) == pytest.approx(np.abs(levels / 255 - mask)[region].mean())


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_probability_of_one_half_is_background(dtype):
    below, half, above = np.nextafter(dtype(0.5), dtype(0)), dtype(0.5), dtype(0.503)
    levels = to_levels(np.array([below, half, above]))
    assert (levels > threshold_level(0.5)).tolist() == [False, False, True]
    # the mean of two networks, and the same probability in validation
    assert mean_levels(np.array([127 + 128, 128 + 128], np.uint32), 2).tolist() == [127, 128]
    batch = Batch(torch.zeros(1), torch.zeros(1, 1, 1, 3), None)
    histogram = _histograms(torch.tensor([below, half, above]).float().reshape(1, 1, 1, 3), batch)
    np.testing.assert_array_equal(np.flatnonzero(histogram[0, 0]), np.unique(levels))


def test_to_levels_rounds_and_clips():
    np.testing.assert_array_equal(to_levels(np.array([-1.0, 0.0, 0.5, 1.0, 7.0])), [0, 0, 127, 255, 255])
    levels = np.arange(256) / 255
    np.testing.assert_array_equal(to_levels(levels), np.arange(256))


def test_scores_by_hand():
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
    both_empty, only_mask, only_prediction = (
        Confusion(*map(np.array, counts)) for counts in ((0, 0, 0, 9), (0, 0, 4, 5), (0, 3, 0, 6))
    )
    for metric in (precision, recall, iou, dice):
        assert metric(both_empty, 1.0) == 1.0
        assert np.isnan(metric(both_empty, np.nan))
        assert metric(only_mask, 1.0) == 0.0
        assert metric(only_prediction, 1.0) == 0.0
    assert specificity(Confusion(*map(np.array, (4, 0, 0, 0)))) == 1.0
    assert mcc(both_empty, 1.0) == mcc(Confusion(*map(np.array, (4, 0, 0, 0))), np.nan) == 1.0
    assert np.isnan(mcc(both_empty, np.nan))
    assert mcc(only_mask, 1.0) == mcc(only_prediction, np.nan) == 0.0


def test_image_without_counted_pixels_has_nan_scores():
    for metric in COUNT_METRICS:
        assert np.isnan(metric.function(Confusion(*map(np.array, (0, 0, 0, 0))), 1.0))


def test_scores_are_vectorized_over_images():
    histograms = np.stack([joint_histogram(to_levels(p), m) for m, p, _ in map(image, range(5))])
    all_counts = confusion(histograms, 100)
    for row in range(5):
        counts = confusion(histograms[row], 100)
        for metric in COUNT_METRICS:
            assert metric.function(all_counts, 1.0)[row] == metric.function(counts, 1.0)


def test_best_threshold_is_best_of_all_levels():
    histograms = np.stack([joint_histogram(to_levels(p), m) for m, p, _ in map(image, range(4))])
    threshold, score = best_threshold(histograms)
    scores = [float(dice(confusion(histograms.sum(axis=0), level))) for level in range(255)]
    assert score == max(scores)
    assert scores[threshold_level(threshold)] == max(scores)


def test_perfect_prediction_gives_threshold_near_half():
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


def test_roc_auc_is_share_of_correctly_ordered_pairs():
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


def test_roc_auc_of_ten_billion_pixels():
    histogram = np.zeros((2, 256), dtype=np.int64)
    histogram[0, [0, 255]] = 4_000_000_000, 1_000_000_000
    histogram[1, 255] = 5_000_000_000
    assert float(roc_auc(histogram)) == pytest.approx(0.9)
