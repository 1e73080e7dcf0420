import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.counts import LEVELS, confusion, dice, joint_histogram, max_f, threshold_level
from pipeline.evaluation.criteria import oracle_columns
from pipeline.evaluation.curves import (
    CURVE_POINTS,
    average_precision,
    counts_at_levels,
    curves,
    max_f_columns,
    thresholds,
)
from pipeline.evaluation.evaluate import curve_table
from pipeline.evaluation.metrics import METRICS
from pipeline.evaluation.scores import EMPTY_VALUES, f_beta, tgs_score

EMPTY = joint_histogram(np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8))


def histograms(seed=0, images=4):
    rng = np.random.default_rng(seed)
    masks = (rng.random((images, 21, 17)) < 0.3).astype(np.uint8)
    levels = np.clip(rng.normal(110, 60, masks.shape) + 50 * masks, 0, 255).astype(np.uint8)
    return np.stack([joint_histogram(*pair) for pair in zip(levels, masks, strict=True)])


@given(st.integers(0, 20), st.integers(1, 255))
def test_counts_at_level_equal_counts_at_threshold(seed, level):
    counts = histograms(seed)
    at_levels, at_threshold = (
        counts_at_levels(counts),
        confusion(counts, threshold_level(round(thresholds()[level], 6))),
    )
    for name in at_threshold._fields:
        np.testing.assert_array_equal(getattr(at_levels, name)[:, level], getattr(at_threshold, name))


def test_end_levels_are_all_foreground_and_none():
    counts = counts_at_levels(histograms())
    assert (counts.fn[:, 0] == 0).all()
    assert (counts.tn[:, 0] == 0).all()
    assert (counts.tp[:, -1] == 0).all()
    assert (counts.fp[:, -1] == 0).all()


def test_both_max_f_definitions_by_hand():
    # one level above 0 in each image, with precision and recall (1, 0.5) and (0.5, 1)
    first = np.zeros((2, LEVELS), dtype=np.int64)
    first[1, 200], first[1, 0], first[0, 0] = 2, 2, 96
    second = np.zeros((2, LEVELS), dtype=np.int64)
    second[1, 200], second[0, 200], second[0, 0] = 3, 3, 94
    result = max_f_columns(np.stack([first, second, EMPTY]))
    assert result["max_f1_of_mean_pr"] == pytest.approx(0.75)
    assert result["max_f1_of_mean_curve"] == pytest.approx(2 / 3)
    assert result["max_f03_of_mean_pr"] == pytest.approx(0.75)
    image_scores = [1.3 * p * r / (0.3 * p + r) for p, r in ((1, 0.5), (0.5, 1))]
    assert result["max_f03_of_mean_curve"] == pytest.approx(np.mean(image_scores))
    assert all(np.isnan(value) for value in max_f_columns(EMPTY[None]).values())


def test_max_f_includes_level_with_all_foreground():
    image_histograms = histograms(images=3)
    inverted = image_histograms[:, :, ::-1]  # F is highest where all pixels are foreground
    for case in (image_histograms, inverted):
        points = curves(case)
        by_level = f_beta(points.precision.mean(axis=0), points.recall.mean(axis=0), 0.3)
        assert max_f(case) == max_f_columns(case)["max_f03_of_mean_pr"] == pytest.approx(by_level.max(), abs=1e-12)
    assert by_level.argmax() == 0


@pytest.mark.parametrize("policy", ["one", "skip"])
def test_oracle_f1_is_best_over_all_thresholds(policy):
    image_histograms = np.stack([*histograms(), EMPTY])
    result = oracle_columns(image_histograms, policy)
    scores = [np.nanmean(dice(confusion(image_histograms, level), EMPTY_VALUES[policy])) for level in range(LEVELS - 1)]
    assert result["oracle_f1"] == max(scores)
    assert scores[threshold_level(result["oracle_threshold"])] == max(scores)
    assert 0 < result["oracle_threshold"] < 1
    undefined = oracle_columns(EMPTY[None], "skip")
    assert np.isnan(list(undefined.values())).all()


def test_macro_curve_is_mean_and_micro_curve_is_pooled():
    image_histograms = histograms(images=2)
    table = curve_table({"experiment": "e"}, np.stack([*image_histograms, EMPTY]))
    assert len(table) == 2 * CURVE_POINTS
    macro, micro = (table[table["averaging"] == name].reset_index() for name in ("macro", "micro"))
    single = [curve_table({}, histogram[None]) for histogram in image_histograms]
    single = [curve[curve["averaging"] == "macro"].reset_index() for curve in single]
    for name in ("precision", "recall", "f1", "f03", "tpr"):
        np.testing.assert_allclose(macro[name], (single[0][name] + single[1][name]) / 2)
    # an image with an empty mask has background
    empty_fpr = (np.arange(CURVE_POINTS) == 0).astype(float)
    np.testing.assert_allclose(macro["fpr"], (single[0]["fpr"] + single[1]["fpr"] + empty_fpr) / 3)
    counts = counts_at_levels(np.stack([*image_histograms, EMPTY]).sum(axis=0))
    np.testing.assert_allclose(micro["recall"], counts.tp / counts.tp[0])
    np.testing.assert_allclose(micro["f1"], METRICS["f1"].function(counts, 1.0), atol=1e-12)
    assert (macro["images"] == 2).all()
    assert (micro["images"] == 3).all()
    assert pd.Series(table["tpr"]).equals(pd.Series(table["recall"], name="tpr"))


def test_empty_masks_have_nan_curves():
    table = curve_table({}, EMPTY[None])
    assert table[["recall", "f1", "f03"]].isna().all(axis=None)
    assert np.isnan(average_precision(EMPTY))


def test_tgs_score_counts_iou_thresholds_and_empty_masks():
    # IoU 0.50, 0.55, just above 0.55, 1; empty mask and prediction; false positives only; false negatives only
    tp, fp, fn = np.array([[50, 50, 0], [55, 45, 0], [5501, 4499, 0], [7, 0, 0], [0, 0, 0], [0, 3, 0], [0, 0, 3]]).T
    counts = confusion(np.zeros((7, 2, LEVELS), np.int64), 0)._replace(tp=tp, fp=fp, fn=fn, tn=np.full(7, 9))
    np.testing.assert_allclose(tgs_score(counts), [0, 0.1, 0.2, 1, 1, 0, 0])
    assert np.isnan(tgs_score(confusion(np.zeros((2, LEVELS), np.int64), 0)))
