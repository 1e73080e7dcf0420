"""Thresholds by every metric and average, against plain counting of pixels at one threshold after the other."""

import functools
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, fbeta_score, jaccard_score, matthews_corrcoef, recall_score
from sources import opened, source

from pipeline.core.counts import joint_histogram, threshold_level
from pipeline.core.errors import PredictionError
from pipeline.evaluation.choice import choose_threshold
from pipeline.evaluation.criteria import best_threshold, score_at_levels
from pipeline.evaluation.evaluate import evaluate
from pipeline.evaluation.metrics import CRITERIA
from pipeline.evaluation.recipes import EvaluateRecipe, ThresholdRecipe
from pipeline.evaluation.thresholds import read_threshold
from pipeline.images.png import write_png

MACRO_ONLY = {name for name, metric in CRITERIA.items() if metric.macro_only}
CRITERION_AVERAGINGS = [(metric, averaging) for metric in CRITERIA for averaging in ("micro", "macro")]
CRITERION_AVERAGINGS = [pair for pair in CRITERION_AVERAGINGS if pair[0] not in MACRO_ONLY or pair[1] == "macro"]
THRESHOLDS = [(level + 0.5) / 255 for level in range(255)]


def images(seed, empty=1, full=0):
    """Return pairs of probability levels and masks: random masks, `empty` empty ones, `full` all-foreground ones."""
    rng = np.random.default_rng(seed)
    pairs = []
    for index in range(3 + empty + full):
        mask = np.zeros((9, 11), np.uint8) if index < empty else (rng.random((9, 11)) < 0.3).astype(np.uint8)
        mask = np.ones_like(mask) if empty <= index < empty + full else mask
        levels = np.clip(mask * 90 + rng.normal(70, 50, mask.shape), 0, 250).astype(np.uint8)
        pairs.append((levels // 12 * 12, mask))
    return pairs


def histograms(pairs):
    return np.stack([joint_histogram(levels, mask) for levels, mask in pairs])


def reference_score(metric, predicted, true, empty):
    """Score one mask with scikit-learn, or by the definition of the challenge."""
    if metric == "youden":
        has_both_classes = true.any() and not true.all()
        return recall_score(true, predicted) + recall_score(~true, ~predicted) - 1 if has_both_classes else np.nan
    if metric == "accuracy":
        return accuracy_score(true, predicted)
    if not true.any() and not predicted.any():
        return 1.0 if metric == "tgs_score" else empty
    if metric == "mcc":
        return 1.0 if (true & predicted).all() else matthews_corrcoef(true, predicted)
    if metric == "tgs_score":
        iou = np.count_nonzero(true & predicted) / np.count_nonzero(true | predicted)
        return np.mean([iou > limit / 100 + 1e-9 for limit in range(50, 100, 5)])
    if metric == "iou":
        return jaccard_score(true, predicted, zero_division=0)
    betas = {"f1": 1.0, "f03": 0.3**0.5}
    assert metric in betas, f"add the definition of {metric} here"
    return fbeta_score(true, predicted, beta=betas[metric], zero_division=0)


@functools.cache
def cached_reference_score(metric, predicted, true, empty):
    return reference_score(metric, np.frombuffer(predicted, dtype=bool), np.frombuffer(true, dtype=bool), empty)


def brute_force_score(pairs, metric, averaging, empty, threshold):
    flat = [((levels / 255 > threshold).ravel(), (mask == 1).ravel()) for levels, mask in pairs]
    if averaging == "micro":
        flat, empty = [tuple(map(np.concatenate, zip(*flat, strict=True)))], 1.0
    values = np.array([cached_reference_score(metric, p.tobytes(), t.tobytes(), empty) for p, t in flat])
    return values[~np.isnan(values)].mean() if (~np.isnan(values)).any() else np.nan


@pytest.mark.parametrize("policy", ["one", "skip"])
@pytest.mark.parametrize(("metric", "averaging"), CRITERION_AVERAGINGS)
def test_threshold_is_best_of_all_thresholds(metric, averaging, policy):
    pairs = images(7, empty=1, full=1)
    empty = {"one": 1.0, "skip": np.nan}[policy]
    expected = np.array([brute_force_score(pairs, metric, averaging, empty, threshold) for threshold in THRESHOLDS])
    np.testing.assert_allclose(score_at_levels(histograms(pairs), metric, averaging, policy), expected, atol=1e-12)
    value, score = best_threshold(histograms(pairs), metric, averaging, policy)
    assert score == pytest.approx(expected.max(), abs=1e-12)
    assert brute_force_score(pairs, metric, averaging, empty, round(value, 6)) == pytest.approx(
        expected.max(), abs=1e-12
    )
    assert 0 < expected.max() < 1


def test_criteria_give_different_thresholds():
    counts = histograms(images(7))
    assert len({best_threshold(counts, *pair)[0] for pair in CRITERION_AVERAGINGS}) >= 4


@given(st.integers(0, 10**6))
def test_documented_relations_between_criteria_hold(seed):
    counts = histograms(images(seed))
    # for pooled pixels IoU is F1 / (2 - F1), which increases with F1
    assert best_threshold(counts, "iou")[0] == best_threshold(counts, "f1")[0] == best_threshold(counts)[0]
    # for one image macro and micro are equal
    for metric in CRITERIA.keys() - MACRO_ONLY:
        assert best_threshold(counts[-1:], metric, "macro") == best_threshold(counts[-1:], metric, "micro")


@pytest.mark.parametrize(("metric", "averaging"), CRITERION_AVERAGINGS)
def test_middle_of_equally_good_thresholds_is_selected(metric, averaging):
    levels, mask = np.array([[10, 200]], np.uint8), np.array([[0, 1]], np.uint8)
    value, score = best_threshold(histograms([(levels, mask)]), metric, averaging)
    assert score == 1.0
    assert threshold_level(round(value, 6)) == 105  # the upper middle of the levels 10 to 199


@pytest.mark.parametrize(("metric", "averaging"), CRITERION_AVERAGINGS)
def test_threshold_without_foreground(metric, averaging):
    """Metrics that score an empty prediction select a threshold without foreground; others have no threshold."""
    counts = histograms([(levels, np.zeros_like(mask)) for levels, mask in images(3)])
    highest = int(np.flatnonzero(counts.sum(axis=(0, 1)))[-1])
    value, score = best_threshold(counts, metric, averaging)
    if metric == "youden":
        assert np.isnan([value, score]).all()
    else:
        assert score == 1.0
        assert threshold_level(value) >= highest
    if averaging == "macro" and metric in ("f1", "iou", "f03", "mcc"):
        assert np.isnan(best_threshold(counts, metric, averaging, "skip")).all()


SPLITS = {"test": {"rule": "fraction", "fraction": 0.3}, "validation": {"fraction": 0.8}}


def recipe(root, metric, averaging="micro", **more):
    criterion = {"metric": metric, "averaging": averaging}
    fields = {"dataset": "d", "criterion": criterion, "source": source("tgs", root, **SPLITS), **more}
    return ThresholdRecipe.model_validate(fields)


def test_threshold_file_and_score_tables_agree(tmp_path, tgs):
    raw = opened("d", "tgs", tgs, **SPLITS)
    rng = np.random.default_rng(2)
    for sample in raw.splits["validation"]:
        mask = raw.read_foreground(sample)
        levels = np.clip(mask * 80.0 + rng.normal(90, 50, mask.shape), 0, 255).astype(np.uint8)
        (tmp_path / "p").mkdir(exist_ok=True)
        write_png(tmp_path / "p" / f"{sample.id}.png", levels)
    assert any(not raw.read_foreground(sample).any() for sample in raw.splits["validation"])
    scores = EvaluateRecipe(dataset="d", empty_masks="one", source=raw.source)
    threshold_of = {}
    for metric, averaging in (("f1", "micro"), ("iou", "macro"), ("tgs_score", "macro"), ("accuracy", "micro")):
        arguments = {"experiment": "e", "predictions": tmp_path / "p", "output": tmp_path / "t.json"}
        choose_threshold(recipe(tgs, metric, averaging), **arguments)
        threshold = read_threshold(tmp_path / "t.json")
        contents = json.loads((tmp_path / "t.json").read_text())
        assert (threshold.metric, contents["metric"]) == (f"{averaging} {metric}",) * 2
        assert contents["criterion"].startswith(f"{averaging} {metric} 0.")
        files = {"predictions": {"validation": tmp_path / "p"}, "threshold": tmp_path / "t.json", "output": tmp_path}
        evaluate(scores, experiment="e", **files)
        row = pd.read_csv(tmp_path / "summary.csv").set_index("averaging").loc[averaging]
        assert (row["threshold_source"], row["threshold_metric"]) == ("validation", f"{averaging} {metric}")
        # the score in threshold.json equals the score of the validation samples
        assert f"{averaging} {metric} {row[metric]:.4f}" in contents["criterion"]
        threshold_of[metric] = row["threshold"]
    assert len(set(threshold_of.values())) > 1


def test_undefined_threshold_is_refused_with_remedy(tmp_path, tgs):
    for path in (tgs / "train/masks").iterdir():
        write_png(path, np.zeros((101, 101), np.uint8))
    raw = opened("d", "tgs", tgs, **SPLITS)
    (tmp_path / "p").mkdir()
    for sample in raw.splits["validation"]:
        write_png(tmp_path / "p" / f"{sample.id}.png", np.full((101, 101), 80, np.uint8))
    arguments = {"experiment": "e", "predictions": tmp_path / "p", "output": tmp_path / "t.json"}
    for undefined in (recipe(tgs, "youden"), recipe(tgs, "f1", "macro", empty_masks="skip")):
        with pytest.raises(PredictionError, match="foreground in a mask of the validation samples"):
            choose_threshold(undefined, **arguments)
        assert not (tmp_path / "t.json").exists()
    choose_threshold(recipe(tgs, "f1"), **arguments)
    assert read_threshold(tmp_path / "t.json").value > 80 / 255
