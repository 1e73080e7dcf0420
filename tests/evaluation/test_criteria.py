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

from pipeline.core.counts import cut_level, joint_histogram
from pipeline.core.errors import PredictionError
from pipeline.evaluation.choice import choose_threshold
from pipeline.evaluation.criteria import best_threshold, score_at_cuts
from pipeline.evaluation.evaluate import evaluate
from pipeline.evaluation.metrics import CRITERIA
from pipeline.evaluation.recipes import EvaluateRecipe, ThresholdRecipe
from pipeline.evaluation.thresholds import read_threshold
from pipeline.images.png import write_png

MACRO_ONLY = {name for name, metric in CRITERIA.items() if metric.macro_only}
WAYS = [(metric, averaging) for metric in CRITERIA for averaging in ("micro", "macro")]
WAYS = [way for way in WAYS if way[0] not in MACRO_ONLY or way[1] == "macro"]
THRESHOLDS = [(cut + 0.5) / 255 for cut in range(255)]


def images(seed, empty=1, full=0):
    """Return probability levels and masks: some with objects, some without, some with nothing else."""
    rng = np.random.default_rng(seed)
    found = []
    for index in range(3 + empty + full):
        mask = np.zeros((9, 11), np.uint8) if index < empty else (rng.random((9, 11)) < 0.3).astype(np.uint8)
        mask = np.ones_like(mask) if empty <= index < empty + full else mask
        levels = np.clip(mask * 90 + rng.normal(70, 50, mask.shape), 0, 250).astype(np.uint8)
        found.append((levels // 12 * 12, mask))
    return found


def histograms(some):
    return np.stack([joint_histogram(levels, mask) for levels, mask in some])


def scored(metric, predicted, true, empty):
    """Score one mask by the definitions of scikit-learn, and of the challenge."""
    if metric == "youden":
        both = true.any() and not true.all()
        return recall_score(true, predicted) + recall_score(~true, ~predicted) - 1 if both else np.nan
    if metric == "accuracy":
        return accuracy_score(true, predicted)
    if not true.any() and not predicted.any():
        return 1.0 if metric == "tgs_score" else empty
    if metric == "mcc":
        return 1.0 if (true & predicted).all() else matthews_corrcoef(true, predicted)
    if metric == "tgs_score":
        both = np.count_nonzero(true & predicted) / np.count_nonzero(true | predicted)
        return np.mean([both > limit / 100 + 1e-9 for limit in range(50, 100, 5)])
    if metric == "iou":
        return jaccard_score(true, predicted, zero_division=0)
    betas = {"f1": 1.0, "f03": 0.3**0.5}
    assert metric in betas, f"say here what scikit-learn gives for {metric}"
    return fbeta_score(true, predicted, beta=betas[metric], zero_division=0)


@functools.cache
def scored_once(metric, predicted, true, empty):
    return scored(metric, np.frombuffer(predicted, dtype=bool), np.frombuffer(true, dtype=bool), empty)


def brute(some, metric, averaging, empty, threshold):
    flat = [((levels / 255 > threshold).ravel(), (mask == 1).ravel()) for levels, mask in some]
    if averaging == "micro":
        flat, empty = [tuple(map(np.concatenate, zip(*flat, strict=True)))], 1.0
    values = np.array([scored_once(metric, p.tobytes(), t.tobytes(), empty) for p, t in flat])
    return values[~np.isnan(values)].mean() if (~np.isnan(values)).any() else np.nan


@pytest.mark.parametrize("policy", ["one", "skip"])
@pytest.mark.parametrize(("metric", "averaging"), WAYS)
def test_the_threshold_is_the_best_of_all_that_there_are(metric, averaging, policy):
    some = images(7, empty=1, full=1)
    empty = {"one": 1.0, "skip": np.nan}[policy]
    expected = np.array([brute(some, metric, averaging, empty, threshold) for threshold in THRESHOLDS])
    np.testing.assert_allclose(score_at_cuts(histograms(some), metric, averaging, policy), expected, atol=1e-12)
    value, score = best_threshold(histograms(some), metric, averaging, policy)
    assert score == pytest.approx(expected.max(), abs=1e-12)
    assert brute(some, metric, averaging, empty, round(value, 6)) == pytest.approx(expected.max(), abs=1e-12)
    assert 0 < expected.max() < 1


def test_the_ways_do_not_all_come_to_the_same():
    given_ = histograms(images(7))
    assert len({best_threshold(given_, *way)[0] for way in WAYS}) >= 4


@given(st.integers(0, 10**6))
def test_what_is_said_of_relations_between_them_holds(seed):
    some = histograms(images(seed))
    # of all pixels together IoU is F1 / (2 - F1): one rises with the other
    assert best_threshold(some, "iou")[0] == best_threshold(some, "f1")[0] == best_threshold(some)[0]
    # of one image there is nothing to average
    for metric in CRITERIA.keys() - MACRO_ONLY:
        assert best_threshold(some[-1:], metric, "macro") == best_threshold(some[-1:], metric, "micro")


@pytest.mark.parametrize(("metric", "averaging"), WAYS)
def test_of_equally_good_thresholds_it_is_the_middle_one(metric, averaging):
    levels, mask = np.array([[10, 200]], np.uint8), np.array([[0, 1]], np.uint8)
    value, score = best_threshold(histograms([(levels, mask)]), metric, averaging)
    assert score == 1.0
    assert cut_level(round(value, 6)) == 105  # of the cuts 10 to 199, an even number of them


@pytest.mark.parametrize(("metric", "averaging"), WAYS)
def test_without_any_foreground(metric, averaging):
    """Nothing is to be found: where that has a score, a threshold at which nothing is found; else none."""
    some = histograms([(levels, np.zeros_like(mask)) for levels, mask in images(3)])
    highest = int(np.flatnonzero(some.sum(axis=(0, 1)))[-1])
    value, score = best_threshold(some, metric, averaging)
    if metric == "youden":
        assert np.isnan([value, score]).all()
    else:
        assert score == 1.0
        assert cut_level(value) >= highest
    if averaging == "macro" and metric in ("f1", "iou", "f03", "mcc"):
        assert np.isnan(best_threshold(some, metric, averaging, "skip")).all()


HALVES = {"test": {"rule": "fraction", "fraction": 0.3}, "validation": {"fraction": 0.8}}


def recipe(root, metric, averaging="micro", **more):
    chosen = {"metric": metric, "averaging": averaging}
    given_ = {"dataset": "d", "chosen": chosen, "source": source("tgs", root, **HALVES), **more}
    return ThresholdRecipe.model_validate(given_)


def test_it_is_written_read_and_said_beside_the_scores(tmp_path, tgs):
    raw = opened("d", "tgs", tgs, **HALVES)
    rng = np.random.default_rng(2)
    for sample in raw.splits["validation"]:
        mask = raw.read_foreground(sample)
        levels = np.clip(mask * 80.0 + rng.normal(90, 50, mask.shape), 0, 255).astype(np.uint8)
        (tmp_path / "p").mkdir(exist_ok=True)
        write_png(tmp_path / "p" / f"{sample.id}.png", levels)
    assert any(not raw.read_foreground(sample).any() for sample in raw.splits["validation"])
    scores = EvaluateRecipe(dataset="d", empty_masks="one", source=raw.source)
    found = {}
    for metric, averaging in (("f1", "micro"), ("iou", "macro"), ("tgs_score", "macro"), ("accuracy", "micro")):
        where = {"experiment": "e", "predictions": tmp_path / "p", "output": tmp_path / "t.json"}
        choose_threshold(recipe(tgs, metric, averaging), **where)
        threshold = read_threshold(tmp_path / "t.json")
        said = json.loads((tmp_path / "t.json").read_text())
        assert (threshold.metric, said["metric"]) == (f"{averaging} {metric}",) * 2
        assert said["chosen_by"].startswith(f"{averaging} {metric} 0.")
        files = {"predictions": {"validation": tmp_path / "p"}, "threshold": tmp_path / "t.json", "output": tmp_path}
        evaluate(scores, experiment="e", **files)
        row = pd.read_csv(tmp_path / "summary.csv").set_index("averaging").loc[averaging]
        assert (row["threshold_source"], row["threshold_metric"]) == ("validation", f"{averaging} {metric}")
        # what was promised on the validation samples is what they score
        assert f"{averaging} {metric} {row[metric]:.4f}" in said["chosen_by"]
        found[metric] = row["threshold"]
    assert len(set(found.values())) > 1


def test_what_cannot_be_chosen_is_refused_with_a_remedy(tmp_path, tgs):
    for path in (tgs / "train/masks").iterdir():
        write_png(path, np.zeros((101, 101), np.uint8))
    raw = opened("d", "tgs", tgs, **HALVES)
    (tmp_path / "p").mkdir()
    for sample in raw.splits["validation"]:
        write_png(tmp_path / "p" / f"{sample.id}.png", np.full((101, 101), 80, np.uint8))
    where = {"experiment": "e", "predictions": tmp_path / "p", "output": tmp_path / "t.json"}
    for refused in (recipe(tgs, "youden"), recipe(tgs, "f1", "macro", empty_masks="skip")):
        with pytest.raises(PredictionError, match="foreground in some mask of the validation samples"):
            choose_threshold(refused, **where)
        assert not (tmp_path / "t.json").exists()
    choose_threshold(recipe(tgs, "f1"), **where)
    assert read_threshold(tmp_path / "t.json").value > 80 / 255
