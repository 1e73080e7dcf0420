"""Intervals over resampled images: against SciPy, against resamples put together one by one; how often they hold."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from rawfiles import make_shapes
from sources import opened, source

from pipeline.core.counts import confusion
from pipeline.evaluation import bootstrap, intervals
from pipeline.evaluation.baselines import write_baseline
from pipeline.evaluation.bootstrap import interval_of_each, resampled_means, resampling_weights, weighted_sums
from pipeline.evaluation.classes import one_against_rest
from pipeline.evaluation.curves import MAX_F, average_precision, max_f_columns, roc_auc
from pipeline.evaluation.evaluate import evaluate
from pipeline.evaluation.evaluate_classes import evaluate_classes
from pipeline.evaluation.intervals import class_intervals, two_class_intervals
from pipeline.evaluation.metrics import OF_CLASSES, POOLED, compute
from pipeline.evaluation.recipes import BaselineRecipe, EvaluateRecipe
from pipeline.evaluation.tables import COLUMNS, mean_of
from pipeline.images.png import write_png


def interval(values, images):
    (found,) = interval_of_each(values, np.array([images]))
    return found


def nominal(images):
    """Return the level at which a plain percentile interval is as wide."""
    return 1 - 2 * bootstrap.tail(images)


def test_resamples_are_drawn_with_replacement_and_alike_for_equal_numbers(monkeypatch):
    weights = resampling_weights(7, 50)
    assert weights.shape == (50, 7)
    assert (weights.sum(axis=1) == 7).all()
    assert len(np.unique(weights, axis=0)) > 40
    np.testing.assert_array_equal(weights, resampling_weights(7, 50))
    assert (weights != resampling_weights(7, 50, seed=1)).any()
    monkeypatch.setattr(bootstrap, "_DRAWN", 20)  # in blocks of two resamples
    np.testing.assert_array_equal(weights, resampling_weights(7, 50))


def test_sums_of_whole_numbers_are_exact_in_any_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    weights, columns = resampling_weights(40, 30), rng.integers(0, 1 << 40, (40, 3))
    expected = weights.astype(np.int64) @ columns
    for size in (1, 7, 64):
        monkeypatch.setattr(bootstrap, "_IMAGES", size)
        np.testing.assert_array_equal(weighted_sums(weights, columns), expected)


@pytest.mark.parametrize("images", [2, 4, 20, 300])
def test_the_interval_of_a_mean_is_scipys_for_the_same_resamples(images):
    values = np.random.default_rng(images).beta(5, 2, images)
    found = interval(resampled_means(resampling_weights(images), values[:, None]), images)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=bootstrap.RESAMPLES, confidence_level=nominal(images), method="percentile",
        rng=np.random.default_rng(bootstrap.SEED),
    )  # fmt: skip
    assert found[:2] == pytest.approx(theirs.confidence_interval, abs=1e-9)
    assert found[2:] == (bootstrap.RESAMPLES, images)


def test_of_many_images_it_is_the_percentile_interval_and_of_few_a_wider_one():
    assert bootstrap.tail(100_000) == pytest.approx(0.025, abs=1e-4)
    assert bootstrap.tail(20) == pytest.approx(scipy.stats.norm.cdf(-np.sqrt(20 / 19) * scipy.stats.t.ppf(0.975, 19)))
    assert 0 < bootstrap.tail(4) < bootstrap.tail(20) < 0.02


def test_images_without_a_score_are_left_out_and_one_image_has_no_interval():
    values = np.array([0.2, np.nan, 0.8, np.nan])
    means = resampled_means(resampling_weights(4), values[:, None])
    none = np.isnan(means)
    assert 0.02 < none.mean() < 0.12  # (1 / 2)^4 of them drew none that has one
    found = interval(means, 2)
    assert (found.low, found.high, found.images) == (pytest.approx(0.2), pytest.approx(0.8), 2)
    assert found.resamples == np.count_nonzero(~none)
    alone = interval(resampled_means(resampling_weights(1), np.array([[0.4]])), 1)
    assert np.isnan(alone[:2]).all()
    assert alone[2:] == (0, 1)


def test_intervals_hold_what_they_promise():
    """Coverage of the mean of skewed scores, over 1,000 data sets of 20 images each."""
    rng, images, rounds = np.random.default_rng(3), 20, 1000
    values = rng.beta(6, 2, (images, rounds))
    means = resampled_means(resampling_weights(images), values)
    low, high = bootstrap.intervals(means, np.full(rounds, images))
    inside = np.mean((low <= 0.75) & (high >= 0.75))
    assert 0.93 < inside < 0.97
    plain = np.quantile(means, [0.025, 0.975], axis=0)
    assert np.mean((plain[0] <= 0.75) & (plain[1] >= 0.75)) < inside - 0.01


def one_by_one(weights, score):
    """Put every resample together and score it."""
    return np.array([score(np.repeat(np.arange(len(row)), row)) for row in weights])


def close(found, expected, what):
    low, high, resamples, _ = interval(expected[:, None], found.images)
    assert found[:3] == pytest.approx((low, high, resamples), abs=1e-9, nan_ok=True), what


@pytest.mark.parametrize("policy", ["one", "skip"])
def test_scores_of_two_classes_are_those_of_resamples_put_together(policy):
    rng = np.random.default_rng(1)
    histograms = rng.poisson(rng.uniform(0.1, 3, (9, 2, 1)) * np.linspace([2, 0.5], [0.5, 2], 256).T)
    histograms[2, 1] = 0  # an empty mask
    histograms[4, 1] = 0
    histograms[4, 0, 100:] = 0  # with an empty prediction
    cut, empty = 128, {"one": 1.0, "skip": np.nan}[policy]
    counts = confusion(histograms, cut)
    scores = compute(POOLED, counts, policy) | {"roc_auc": roc_auc(histograms)}
    weights = resampling_weights(9, 60)
    found = two_class_intervals(weights, histograms, scores, cut, policy)
    assert set(found["macro"]) == {*scores, *MAX_F}
    assert set(found["micro"]) == {"mae", "roc_auc", "pr_auc", *POOLED, *MAX_F}
    for name, values in scores.items():
        close(found["macro"][name], one_by_one(weights, lambda drawn, v=values: mean_of(v[drawn])), name)
    assert found["macro"]["roc_auc"].images == 7
    assert found["macro"]["max_f1_of_mean_pr"].images == 7
    for name in MAX_F:
        for averaging, some in (("macro", lambda h: h), ("micro", lambda h: h.sum(axis=0)[None])):
            expected = one_by_one(weights, lambda drawn, s=some, n=name: max_f_columns(s(histograms[drawn]))[n])
            close(found[averaging][name], expected, (averaging, name))
    for name, metric in POOLED.items():
        expected = one_by_one(
            weights, lambda drawn, m=metric.function: float(m(confusion(histograms[drawn].sum(axis=0), cut), empty))
        )
        close(found["micro"][name], expected, name)
    expected = one_by_one(weights, lambda drawn: float(average_precision(histograms[drawn].sum(axis=0))))
    close(found["micro"]["pr_auc"], expected, "pr_auc")


def test_few_images_are_scored_as_many_are(monkeypatch):
    histograms = np.random.default_rng(4).poisson(3, (4, 2, 256))
    scores = {"roc_auc": roc_auc(histograms)}
    given = (resampling_weights(4), histograms, scores, 128, "one")
    found = two_class_intervals(*given)
    monkeypatch.setattr(intervals, "_FEW", 0)
    expected = two_class_intervals(*given)
    for averaging, by_name in expected.items():
        for name, one in by_name.items():
            assert found[averaging][name] == pytest.approx(one, abs=1e-12)


def test_scores_of_several_classes_are_those_of_resamples_put_together():
    rng = np.random.default_rng(2)
    joint = rng.integers(0, 30, (8, 3, 3)) + 40 * np.eye(3, dtype=int)
    joint[1, 2] = joint[1, :, 2] = 0  # a class that neither mask nor prediction has
    weights = resampling_weights(8, 50)

    def scored(joint):
        return compute(OF_CLASSES, one_against_rest(joint), "skip")

    scores = scored(joint)
    found = class_intervals(weights, joint, scores, "skip")
    for name, values in scores.items():
        for number in range(3):
            macro = one_by_one(weights, lambda drawn, v=values, k=number: mean_of(v[drawn][:, k]))
            close(found["macro"][number][name], macro, name)
            micro = one_by_one(weights, lambda drawn, n=name, k=number: scored(joint[drawn].sum(axis=0))[n][k])
            close(found["micro"][number][name], micro, name)
        mean = one_by_one(weights, lambda drawn, v=values: mean_of(np.array([mean_of(v[drawn][:, k]) for k in (1, 2)])))
        close(found["macro"][3][name], mean, name)
    assert found["macro"][2]["f1"].images == 7
    right = np.trace(joint, axis1=1, axis2=2), joint.sum(axis=(1, 2))
    micro = one_by_one(weights, lambda drawn: right[0][drawn].sum() / right[1][drawn].sum())
    close(found["micro"][3]["accuracy"], micro, "accuracy")
    macro = one_by_one(weights, lambda drawn: (right[0] / right[1])[drawn].mean())
    close(found["macro"][3]["accuracy"], macro, "accuracy")


def check_table(folder, lacking):
    """Compare the table with the summary beside it; return it."""
    table = pd.read_csv(folder / "intervals.csv")
    assert tuple(table.columns) == COLUMNS
    summary = pd.read_csv(folder / "summary.csv")
    keys = ["experiment", "dataset", "split", "region", "class", "averaging"]
    for said, rows in table.groupby(keys, sort=False):
        (row,) = (summary[keys] == list(said)).all(axis=1).pipe(np.flatnonzero)
        row = summary.iloc[row]
        own = row[list(summary.columns)[list(summary.columns).index("images") + 1 :]].dropna()
        shown = rows.dropna(subset="estimate").set_index("metric")
        assert set(own.index) - set(shown.index) == {name for name in lacking if name in own.index}
        assert shown["estimate"].to_dict() == {name: own[name] for name in shown.index}
        assert (shown["low"] <= shown["high"]).all()
        np.testing.assert_array_equal(shown.loc["f1", ["low", "high"]], row[["f1_low", "f1_high"]].astype(float))
    assert len(table.groupby(keys)) == len(summary)
    assert set(table["level"]) == {0.95}
    return table


NOT_RESAMPLED = ("f1_low", "f1_high", "f1_sd", "hd95_px_images", "oracle_f1", "oracle_threshold")


def test_the_table_of_two_classes_has_the_scores_of_the_summary_and_no_oracle(tmp_path, drive):
    its = {"dataset": "d", "source": source("drive", drive, test={"rule": "official"})}
    write_baseline(BaselineRecipe(split="test", kind="second-observer", **its), output=tmp_path / "p")
    given = {"experiment": "e", "predictions": {"test": tmp_path / "p"}, "threshold": 0.5}
    for folder in ("a", "b"):
        evaluate(EvaluateRecipe(empty_masks="one", **its), output=tmp_path / folder, **given)
    table = check_table(tmp_path / "a", NOT_RESAMPLED)
    assert (table["images"] == 3).all()
    assert (tmp_path / "a/intervals.csv").read_bytes() == (tmp_path / "b/intervals.csv").read_bytes()
    # three images: the interval is their range
    images = pd.read_csv(tmp_path / "a/per_image.csv").query("region == 'fov'")
    f1 = table.query("region == 'fov' and averaging == 'macro' and metric == 'f1'").iloc[0]
    assert (f1["low"], f1["high"]) == pytest.approx((images["f1"].min(), images["f1"].max()), abs=2e-6)


def test_the_table_of_several_classes_has_each_class_and_the_mean(tmp_path):
    raw = opened("s", "shapes", make_shapes(tmp_path / "raw"), test={"rule": "official"})
    (tmp_path / "p").mkdir()
    rng = np.random.default_rng(0)
    for sample in raw.splits["test"]:
        truth = np.asarray(raw.read_truth(sample))
        write_png(tmp_path / "p" / f"{sample.id}.png", np.where(rng.random(truth.shape) < 0.1, 1, truth).astype("u1"))
    recipe = EvaluateRecipe(dataset="s", empty_masks="one", source=raw.source)
    evaluate_classes(recipe, experiment="e", predictions={"test": tmp_path / "p"}, output=tmp_path)
    table = check_table(tmp_path, NOT_RESAMPLED)
    assert set(table["class"]) == {*raw.classes, "mean"}
    assert set(table.query("metric == 'accuracy' and estimate.notna()")["class"]) == {"mean"}
