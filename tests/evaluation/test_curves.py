import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.counts import LEVELS, confusion, cut_level, dice, joint_histogram, max_f
from pipeline.evaluation.criteria import oracle_columns
from pipeline.evaluation.curves import (
    CUTS,
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
def test_a_level_is_what_its_threshold_asks_for(seed, level):
    some = histograms(seed)
    at_levels, at_cut = counts_at_levels(some), confusion(some, cut_level(round(thresholds()[level], 6)))
    for name in at_cut._fields:
        np.testing.assert_array_equal(getattr(at_levels, name)[:, level], getattr(at_cut, name))


def test_at_the_ends_everything_and_nothing_is_foreground():
    counts = counts_at_levels(histograms())
    assert (counts.fn[:, 0] == 0).all()
    assert (counts.tn[:, 0] == 0).all()
    assert (counts.tp[:, -1] == 0).all()
    assert (counts.fp[:, -1] == 0).all()


def test_both_maxima_of_f_by_hand():
    # one level above 0 in each image: precision and recall (1, 0.5) and (0.5, 1) there
    first = np.zeros((2, LEVELS), dtype=np.int64)
    first[1, 200], first[1, 0], first[0, 0] = 2, 2, 96
    second = np.zeros((2, LEVELS), dtype=np.int64)
    second[1, 200], second[0, 200], second[0, 0] = 3, 3, 94
    found = max_f_columns(np.stack([first, second, EMPTY]))
    assert found["max_f1_of_mean_pr"] == pytest.approx(0.75)
    assert found["max_f1_of_mean_curve"] == pytest.approx(2 / 3)
    assert found["max_f03_of_mean_pr"] == pytest.approx(0.75)
    each = [1.3 * p * r / (0.3 * p + r) for p, r in ((1, 0.5), (0.5, 1))]
    assert found["max_f03_of_mean_curve"] == pytest.approx(np.mean(each))
    assert all(np.isnan(value) for value in max_f_columns(EMPTY[None]).values())


def test_max_f_is_the_highest_point_of_mean_precision_and_recall_where_everything_is_foreground_included():
    some = histograms(images=3)
    upside_down = some[:, :, ::-1]  # the best that can be done with it is to call everything foreground
    for case in (some, upside_down):
        points = curves(case)
        by_level = f_beta(points.precision.mean(axis=0), points.recall.mean(axis=0), 0.3)
        assert max_f(case) == max_f_columns(case)["max_f03_of_mean_pr"] == pytest.approx(by_level.max(), abs=1e-12)
    assert by_level.argmax() == 0


@pytest.mark.parametrize("policy", ["one", "skip"])
def test_the_oracle_is_the_best_of_all_thresholds_and_no_other_threshold_is_better(policy):
    some = np.stack([*histograms(), EMPTY])
    found = oracle_columns(some, policy)
    scores = [np.nanmean(dice(confusion(some, cut), EMPTY_VALUES[policy])) for cut in range(LEVELS - 1)]
    assert found["oracle_f1"] == max(scores)
    assert scores[cut_level(found["oracle_threshold"])] == max(scores)
    assert 0 < found["oracle_threshold"] < 1
    nothing = oracle_columns(EMPTY[None], "skip")
    assert np.isnan(list(nothing.values())).all()


def test_the_curve_of_two_images_is_the_mean_of_their_curves_and_micro_is_that_of_all_pixels():
    some = histograms(images=2)
    table = curve_table({"experiment": "e"}, np.stack([*some, EMPTY]))
    assert len(table) == 2 * CUTS
    macro, micro = (table[table["averaging"] == name].reset_index() for name in ("macro", "micro"))
    single = [curve_table({}, one[None]) for one in some]
    single = [one[one["averaging"] == "macro"].reset_index() for one in single]
    for name in ("precision", "recall", "f1", "f03", "tpr"):
        np.testing.assert_allclose(macro[name], (single[0][name] + single[1][name]) / 2)
    # there is background in the image whose mask is empty
    alone = (np.arange(CUTS) == 0).astype(float)
    np.testing.assert_allclose(macro["fpr"], (single[0]["fpr"] + single[1]["fpr"] + alone) / 3)
    counts = counts_at_levels(np.stack([*some, EMPTY]).sum(axis=0))
    np.testing.assert_allclose(micro["recall"], counts.tp / counts.tp[0])
    np.testing.assert_allclose(micro["f1"], METRICS["f1"].function(counts, 1.0), atol=1e-12)
    assert (macro["images"] == 2).all()
    assert (micro["images"] == 3).all()
    assert pd.Series(table["tpr"]).equals(pd.Series(table["recall"], name="tpr"))


def test_empty_masks_have_no_curve():
    table = curve_table({}, EMPTY[None])
    assert table[["recall", "f1", "f03"]].isna().all(axis=None)
    assert np.isnan(average_precision(EMPTY))


def test_the_challenges_score_counts_thresholds_below_the_iou_and_empty_masks():
    # IoU 0.50, 0.55, just above 0.55, 1; nothing at all; a false alarm; a miss
    tp, fp, fn = np.array([[50, 50, 0], [55, 45, 0], [5501, 4499, 0], [7, 0, 0], [0, 0, 0], [0, 3, 0], [0, 0, 3]]).T
    counts = confusion(np.zeros((7, 2, LEVELS), np.int64), 0)._replace(tp=tp, fp=fp, fn=fn, tn=np.full(7, 9))
    np.testing.assert_allclose(tgs_score(counts), [0, 0.1, 0.2, 1, 1, 0, 0])
    assert np.isnan(tgs_score(confusion(np.zeros((2, LEVELS), np.int64), 0)))
