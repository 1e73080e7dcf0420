"""Bootstrap intervals: against SciPy, against explicit resampling, and their coverage."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from rawfiles import make_shapes
from sources import opened, source

from pipeline.core.counts import confusion
from pipeline.evaluation import bootstrap, intervals
from pipeline.evaluation.baselines import write_baseline
from pipeline.evaluation.bootstrap import list_intervals, resampled_means, resampling_weights, weighted_sums
from pipeline.evaluation.classes import one_vs_rest
from pipeline.evaluation.curves import MAX_F, average_precision, max_f_columns, roc_auc
from pipeline.evaluation.evaluate import evaluate
from pipeline.evaluation.evaluate_classes import evaluate_classes
from pipeline.evaluation.intervals import class_intervals, two_class_intervals
from pipeline.evaluation.metrics import CLASS_METRICS, POOLED, class_scores, compute
from pipeline.evaluation.recipes import BaselineRecipe, EvaluateRecipe
from pipeline.evaluation.tables import COLUMNS, nan_mean
from pipeline.images.png import write_png


def interval(values, images):
    (result,) = list_intervals(values, np.array([images]))
    return result


def nominal(images):
    """Return the confidence level at which a plain percentile interval has the same width."""
    return 1 - 2 * bootstrap.tail_probability(images)


def test_resampling_with_replacement_is_reproducible(monkeypatch):
    weights = resampling_weights(7, 50)
    assert weights.shape == (50, 7)
    assert (weights.sum(axis=1) == 7).all()
    assert len(np.unique(weights, axis=0)) > 40
    np.testing.assert_array_equal(weights, resampling_weights(7, 50))
    assert (weights != resampling_weights(7, 50, seed=1)).any()
    monkeypatch.setattr(bootstrap, "_MAX_RANDOM_NUMBERS", 20)  # in blocks of two resamples
    np.testing.assert_array_equal(weights, resampling_weights(7, 50))


def test_integer_sums_are_exact_for_any_block_size(monkeypatch):
    rng = np.random.default_rng(0)
    weights, columns = resampling_weights(40, 30), rng.integers(0, 1 << 40, (40, 3))
    expected = weights.astype(np.int64) @ columns
    for size in (1, 7, 64):
        monkeypatch.setattr(bootstrap.blocks, "__defaults__", (size,))
        np.testing.assert_array_equal(weighted_sums(weights, columns), expected)


@pytest.mark.parametrize("images", [2, 4, 20, 300])
def test_interval_of_mean_equals_scipy_with_same_resamples(images):
    values = np.random.default_rng(images).beta(5, 2, images)
    result = interval(resampled_means(resampling_weights(images), values[:, None]), images)
    reference = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=bootstrap.RESAMPLES, confidence_level=nominal(images), method="percentile",
        rng=np.random.default_rng(bootstrap.SEED),
    )  # fmt: skip
    assert result[:2] == pytest.approx(reference.confidence_interval, abs=1e-9)
    assert result[2:] == (bootstrap.RESAMPLES, images)


def test_intervals_are_wider_than_percentile_for_few_images():
    assert bootstrap.tail_probability(100_000) == pytest.approx(0.025, abs=1e-4)
    expected = scipy.stats.norm.cdf(-np.sqrt(20 / 19) * scipy.stats.t.ppf(0.975, 19))
    assert bootstrap.tail_probability(20) == pytest.approx(expected)
    assert 0 < bootstrap.tail_probability(4) < bootstrap.tail_probability(20) < 0.02


def test_images_without_score_are_ignored_one_has_no_interval():
    values = np.array([0.2, np.nan, 0.8, np.nan])
    means = resampled_means(resampling_weights(4), values[:, None])
    none = np.isnan(means)
    assert 0.02 < none.mean() < 0.12  # (1 / 2)^4 of the resamples have no image with a score
    result = interval(means, 2)
    assert (result.low, result.high, result.images) == (pytest.approx(0.2), pytest.approx(0.8), 2)
    assert result.resamples == np.count_nonzero(~none)
    alone = interval(resampled_means(resampling_weights(1), np.array([[0.4]])), 1)
    assert np.isnan(alone[:2]).all()
    assert alone[2:] == (0, 1)


def test_interval_coverage():
    """Coverage of the mean of skewed scores, over 1,000 data sets of 20 images each."""
    rng, images, rounds = np.random.default_rng(3), 20, 1000
    values = rng.beta(6, 2, (images, rounds))
    means = resampled_means(resampling_weights(images), values)
    low, high = bootstrap.intervals(means, np.full(rounds, images))
    inside = np.mean((low <= 0.75) & (high >= 0.75))
    assert 0.93 < inside < 0.97
    plain = np.quantile(means, [0.025, 0.975], axis=0)
    assert np.mean((plain[0] <= 0.75) & (plain[1] >= 0.75)) < inside - 0.01


def resample(weights, score):
    """Build and score every resample."""
    return np.array([score(np.repeat(np.arange(len(row)), row)) for row in weights])


def close(actual, expected, label):
    low, high, resamples, _ = interval(expected[:, None], actual.images)
    assert actual[:3] == pytest.approx((low, high, resamples), abs=1e-9, nan_ok=True), label


@pytest.mark.parametrize("policy", ["one", "skip"])
def test_two_class_intervals_equal_explicit_resampling(policy):
    rng = np.random.default_rng(1)
    histograms = rng.poisson(rng.uniform(0.1, 3, (9, 2, 1)) * np.linspace([2, 0.5], [0.5, 2], 256).T)
    histograms[2, 1] = 0  # an empty mask
    histograms[4, 1] = 0
    histograms[4, 0, 100:] = 0  # with an empty prediction
    level, empty = 128, {"one": 1.0, "skip": np.nan}[policy]
    counts = confusion(histograms, level)
    scores = compute(POOLED, counts, policy) | {"roc_auc": roc_auc(histograms)}
    weights = resampling_weights(9, 60)
    ranks = rng.poisson(histograms.repeat(3, axis=-1)[..., :600])  # other bins, as with 16 bits
    result = two_class_intervals(weights, histograms, ranks, scores, level, policy)
    assert set(result["macro"]) == {*scores, *MAX_F}
    assert set(result["micro"]) == {"mae", "roc_auc", "pr_auc", *POOLED, *MAX_F}
    for name, values in scores.items():
        close(result["macro"][name], resample(weights, lambda ids, v=values: nan_mean(v[ids])), name)
    assert result["macro"]["roc_auc"].images == 7
    assert result["macro"]["max_f1_of_mean_pr"].images == 7
    for name in MAX_F:
        for averaging, pool in (("macro", lambda h: h), ("micro", lambda h: h.sum(axis=0)[None])):
            expected = resample(weights, lambda ids, p=pool, n=name: max_f_columns(p(histograms[ids]))[n])
            close(result[averaging][name], expected, (averaging, name))
    for name, metric in POOLED.items():
        expected = resample(
            weights, lambda ids, m=metric.function: float(m(confusion(histograms[ids].sum(axis=0), level), empty))
        )
        close(result["micro"][name], expected, name)
    expected = resample(weights, lambda ids: float(average_precision(ranks[ids].sum(axis=0))))
    close(result["micro"]["pr_auc"], expected, "pr_auc")


def test_unique_resamples_of_few_images_give_same_intervals(monkeypatch):
    histograms = np.random.default_rng(4).poisson(3, (4, 2, 256))
    scores = {"roc_auc": roc_auc(histograms)}
    arguments = (resampling_weights(4), histograms, histograms, scores, 128, "one")
    result = two_class_intervals(*arguments)
    monkeypatch.setattr(intervals, "_MAX_UNIQUE_IMAGES", 0)
    expected = two_class_intervals(*arguments)
    for averaging, by_name in expected.items():
        for name, expected_interval in by_name.items():
            assert result[averaging][name] == pytest.approx(expected_interval, abs=1e-12)


def test_class_intervals_equal_explicit_resampling():
    rng = np.random.default_rng(2)
    matrices = rng.integers(0, 30, (8, 3, 3)) + 40 * np.eye(3, dtype=int)
    matrices[1, 2] = matrices[1, :, 2] = 0  # a class that neither mask nor prediction has
    weights = resampling_weights(8, 50)

    def compute_scores(matrices):
        return class_scores(CLASS_METRICS, one_vs_rest(matrices), "skip")

    scores = compute_scores(matrices)
    result = class_intervals(weights, matrices, scores, "skip", slice(1, None))
    for name, values in scores.items():
        for index in range(3):
            macro = resample(weights, lambda ids, v=values, k=index: nan_mean(v[ids][:, k]))
            close(result["macro"][index][name], macro, name)
            micro = resample(weights, lambda ids, n=name, k=index: compute_scores(matrices[ids].sum(axis=0))[n][k])
            close(result["micro"][index][name], micro, name)
        foreground = resample(
            weights, lambda ids, v=values: nan_mean(np.array([nan_mean(v[ids][:, k]) for k in (1, 2)]))
        )
        close(result["macro"][3][name], foreground, name)
    assert result["macro"][2]["f1"].images == 7
    correct, total = np.trace(matrices, axis1=1, axis2=2), matrices.sum(axis=(1, 2))
    micro = resample(weights, lambda ids: correct[ids].sum() / total[ids].sum())
    close(result["micro"][3]["accuracy"], micro, "accuracy")
    macro = resample(weights, lambda ids: (correct / total)[ids].mean())
    close(result["macro"][3]["accuracy"], macro, "accuracy")


def check_table(folder, lacking):
    """Compare the interval table with the summary in the same folder; return it."""
    table = pd.read_csv(folder / "intervals.csv")
    assert tuple(table.columns) == COLUMNS
    summary = pd.read_csv(folder / "summary.csv")
    keys = ["experiment", "dataset", "split", "region", "class", "averaging"]
    for values, rows in table.groupby(keys, sort=False):
        (row,) = (summary[keys] == list(values)).all(axis=1).pipe(np.flatnonzero)
        row = summary.iloc[row]
        scores = row[list(summary.columns)[list(summary.columns).index("images") + 1 :]].dropna()
        estimates = rows.dropna(subset="estimate").set_index("metric")
        assert set(scores.index) - set(estimates.index) == {name for name in lacking if name in scores.index}
        assert estimates["estimate"].to_dict() == {name: scores[name] for name in estimates.index}
        assert (estimates["low"] <= estimates["high"]).all()
        np.testing.assert_array_equal(estimates.loc["f1", ["low", "high"]], row[["f1_low", "f1_high"]].astype(float))
    assert len(table.groupby(keys)) == len(summary)
    assert set(table["level"]) == {0.95}
    return table


NOT_RESAMPLED = ("f1_low", "f1_high", "f1_sd", "hd95_px_images", "oracle_f1", "oracle_threshold")


def test_two_class_interval_table_matches_summary(tmp_path, drive):
    dataset = {"dataset": "d", "source": source("drive", drive, test={"rule": "official"})}
    write_baseline(BaselineRecipe(split="test", kind="second-observer", **dataset), output=tmp_path / "p")
    arguments = {"experiment": "e", "predictions": {"test": tmp_path / "p"}, "threshold": 0.5}
    for folder in ("a", "b"):
        evaluate(EvaluateRecipe(empty_masks="one", **dataset), output=tmp_path / folder, **arguments)
    table = check_table(tmp_path / "a", NOT_RESAMPLED)
    assert (table["images"] == 3).all()
    assert (tmp_path / "a/intervals.csv").read_bytes() == (tmp_path / "b/intervals.csv").read_bytes()
    # three images: the interval is their range
    images = pd.read_csv(tmp_path / "a/per_image.csv").query("region == 'fov'")
    f1 = table.query("region == 'fov' and averaging == 'macro' and metric == 'f1'").iloc[0]
    assert (f1["low"], f1["high"]) == pytest.approx((images["f1"].min(), images["f1"].max()), abs=2e-6)


def test_class_interval_table_has_each_class_and_mean(tmp_path):
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
