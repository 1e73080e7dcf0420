"""Experiments with several seeds: names of the runs, mean and standard deviation of scores, leaderboard."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import yaml

from pipeline.cli import main as cli
from pipeline.config.config import parse
from pipeline.core.errors import ConfigError, PredictionError
from pipeline.core.fingerprint import Fingerprint
from pipeline.core.manifest import Manifest
from pipeline.graph.artifacts import Augmented, Average, Checkpoint, Predictions, Scores, Threshold
from pipeline.graph.study import Study
from pipeline.report.average import average_runs
from pipeline.report.comparisons import compare_methods
from pipeline.report.leaderboard import build_leaderboard
from pipeline.report.recipes import AverageRecipe

PLAIN = {
    "dataset": "d", "model": "unet", "loss": "bce", "optimizer": {"name": "adam", "lr": 0.01},
    "batch_size": 1, "epochs": 1,
}  # fmt: skip
DATASETS = {"d": {"layout": "tgs", "root": "TGS", "size": [32, 32]}}


def parsed(**experiments):
    return Study(parse({"datasets": DATASETS, "experiments": {n: {**PLAIN, **e} for n, e in experiments.items()}}))


def error_message(**experiments):
    with pytest.raises(ConfigError) as caught:
        parsed(**experiments)
    return str(caught.value)


def test_experiment_with_seeds_has_a_run_for_each_seed(tmp_path, tgs, monkeypatch):
    monkeypatch.chdir(tmp_path)
    two_seeds = parsed(a={"seeds": [3, 1]}, b={"seed": 3})
    assert list(two_seeds.experiments) == ["a-seed3", "a-seed1", "b"]
    assert two_seeds.runs == {"a": ["a-seed3", "a-seed1"]}
    assert Average("a").recipe(two_seeds) == AverageRecipe(runs=("a-seed3", "a-seed1"), folds=False)
    assert [run.seed for run in two_seeds.experiments.values()] == [3, 1, 3]
    # another seed must not change the recipe of an existing run
    three_seeds = parsed(a={"seeds": [3, 1, 2]})
    predictions = partial(Predictions, split="test", kind="probability")
    for artifact in (Checkpoint, predictions, Augmented, Threshold, Scores):
        recipe = artifact("a-seed3").recipe(two_seeds)
        assert recipe == artifact("a-seed3").recipe(three_seeds) == artifact("b").recipe(two_seeds)


def test_one_seed_is_a_list_of_one_and_null_is_none():
    assert parsed(a={"seeds": [7]}).runs == {"a": ["a-seed7"]}
    assert list(parsed(a={"seeds": None}).experiments) == ["a"]


@pytest.mark.parametrize(
    ("experiments", "message"),
    [
        ({"a": {"seeds": [1], "seed": 1}}, "either `seed` or `seeds`, not both"),
        ({"a": {"seeds": [1, 2, 1]}}, "distinct `seeds`"),
        ({"a": {"seeds": []}}, "at least 1 item"),
        ({"a": {"seeds": [-1]}}, "greater than or equal to 0"),
        ({"a": {"seeds": [True]}}, "not yes/no"),
        ({"a": {"seeds": 3}}, "a list, such as"),
        ({"a": {"seeds": [1]}, "a-seed1": {}}, "'a-seed1', which is also the name of experiment 'a-seed1'"),
        ({"a": {"seeds": [1]}, "A-Seed1": {}}, "'a-seed1', which is also the name of experiment 'A-Seed1'"),
        ({"a": {"seeds": [1]}, "a-seed1": {"seeds": [2]}}, "'a-seed1', which is also the name of experiment 'a-seed1'"),
        ({"x" * 60: {"seeds": [1]}}, "with 66 characters"),
    ],
)
def test_invalid_seeds_are_rejected(experiments, message):
    assert message in error_message(**experiments)


def test_all_name_clashes_are_reported_at_once():
    message = error_message(**{"a": {"seeds": [1, 2]}, "a-seed1": {}, "a-seed2": {}})
    assert "2 problems" in message


def test_command_for_an_experiment_with_seeds_needs_a_run(tmp_path, capsys):
    file = tmp_path / "c.yaml"
    file.write_text(yaml.safe_dump({"datasets": DATASETS, "experiments": {"a": {**PLAIN, "seeds": [1, 2]}}}))
    assert cli.main(["train", "--experiment", "a", "--config", str(file)]) == 2
    assert "several runs: a-seed1, a-seed2" in capsys.readouterr().err
    assert cli.main(["average", "--experiment", "a-seed1", "--config", str(file)]) == 2
    assert "one of a" in capsys.readouterr().err


def summary(folder, run, f1, iou, *, threshold="0.500000", classes=("vessel",)):
    rows = [
        {
            "experiment": run, "dataset": "d", "split": split, "region": "full", "class": name, "threshold": threshold,
            "averaging": averaging, "images": 4, "f1": f1 + shift, "iou": iou,
        }
        for split, shift in (("validation", 0.0), ("test", 0.1))
        for name in classes
        for averaging in ("macro", "micro")
    ]  # fmt: skip
    path = folder / f"{run}.csv"
    pd.DataFrame(rows).to_csv(path, index=False, float_format="%.6f")
    return path


def average(summaries, runs, output, folds=False):
    recipe = AverageRecipe(runs=tuple(runs), folds=folds)
    average_runs(recipe, experiment="a", summaries=summaries, output=output)


def read(path):
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def test_mean_and_sample_standard_deviation(tmp_path):
    runs = ["a-seed1", "a-seed2", "a-seed3"]
    summaries = [
        summary(tmp_path, run, f1, iou, threshold=threshold)
        for run, f1, iou, threshold in zip(
            runs, (0.2, 0.3, 0.7), (0.5, np.nan, 0.5), ("0.400000", "0.400000", "0.600000"), strict=True
        )
    ]
    average(summaries, runs, tmp_path / "out.csv")
    table = read(tmp_path / "out.csv")
    assert list(table.columns[:4]) == ["experiment", "statistic", "runs", "dataset"]
    assert table["statistic"].tolist() == ["mean", "std"] * 4
    assert set(table["experiment"]) == {"a"}
    assert set(table["runs"]) == {"3"}
    first = table[(table["split"] == "validation") & (table["averaging"] == "macro")].set_index("statistic")
    assert first.loc["mean", "f1"] == "0.400000"
    assert first.loc["std", "f1"] == "0.264575"  # sqrt((0.04 + 0.01 + 0.09) / 2)
    assert set(table["iou"]) == {""}  # one run has none
    assert set(table["threshold"]) == {""}  # they differ
    assert set(table["images"]) == {"4"}
    test = table[(table["split"] == "test") & (table["statistic"] == "mean")]
    assert test["f1"].tolist() == ["0.500000", "0.500000"]


def test_mean_over_folds_has_no_number_of_validation_images(tmp_path):
    """Each fold has its own validation images, even if their number is the same."""
    runs = ["a-fold0", "a-fold1"]
    summaries = [summary(tmp_path, run, f1, 0.5) for run, f1 in zip(runs, (0.2, 0.3), strict=True)]
    average(summaries, runs, tmp_path / "out.csv", folds=True)
    images = read(tmp_path / "out.csv").groupby("split")["images"].unique()
    assert {split: list(counts) for split, counts in images.items()} == {"validation": [""], "test": ["4"]}


def test_single_run_has_a_mean_but_no_standard_deviation(tmp_path):
    path = summary(tmp_path, "a-seed1", 0.2, 0.5)
    average([path], ["a-seed1"], tmp_path / "out.csv")
    table = read(tmp_path / "out.csv").query("split == 'validation' and averaging == 'macro'").set_index("statistic")
    assert table["f1"].to_dict() == {"mean": "0.200000", "std": ""}
    assert table["threshold"].to_dict() == {"mean": "0.500000", "std": "0.500000"}
    assert set(table["runs"]) == {"1"}


def test_classes_that_any_run_leaves_out_are_named(tmp_path):
    runs = ["a-seed1", "a-seed2"]
    summaries = [summary(tmp_path, run, 0.2, 0.5) for run in runs]
    for path, names in zip(summaries, ("bus", "tram; bus"), strict=True):
        table = read(path)
        table.insert(list(table.columns).index("images"), "left_out", names)
        table.to_csv(path, index=False)
    average(summaries, runs, tmp_path / "out.csv")
    assert set(read(tmp_path / "out.csv")["left_out"]) == {"bus; tram"}


def test_all_mismatched_summaries_are_reported(tmp_path):
    good = summary(tmp_path, "a-seed1", 0.2, 0.5)
    other = summary(tmp_path, "b", 0.2, 0.5)
    longer = summary(tmp_path, "a-seed3", 0.2, 0.5, classes=("vessel", "bone"))
    torn = tmp_path / "torn.csv"
    torn.write_text("experiment,dataset\n")
    words = summary(tmp_path, "a-seed5", 0.2, 0.5)
    words.write_text(words.read_text().replace("0.5", "half", 3))
    with pytest.raises(PredictionError) as caught:
        average([good, other, longer, torn, words], [f"a-seed{n}" for n in range(1, 6)], tmp_path / "out.csv")
    assert [problem.where for problem in caught.value.problems] == [str(p) for p in (other, longer, torn, words)]
    for message in ("scores of 'b'", "that differ from those of the first summary", "without split", "not numbers"):
        assert message in str(caught.value)
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("given", "count"),
    [("a-seed2 a-seed1", 2), ("a-seed1 a-seed1", 1), ("a-seed1 b", 1), ("a-seed1", 1), ("a-seed1 images", 1)],
)
def test_other_summaries_are_not_to_be_deleted(tmp_path, given, count):
    summaries = [summary(tmp_path, run, 0.2, 0.5) for run in given.split()]
    for path in summaries:
        Manifest.describe(Fingerprint(stage="evaluate", settings={}, code={}, libraries={}), [path]).write(path)
    with pytest.raises(PredictionError) as caught:
        average(summaries, ["a-seed1", "a-seed2"], tmp_path / "out.csv")
    assert len(caught.value.problems) == count
    assert {problem.remedy for problem in caught.value.problems} == {
        "name the summary.csv of each run once, in this order: a-seed1, a-seed2"
    }


@pytest.mark.parametrize(
    ("command", "kind", "found"),
    [
        ("average", "per_image", "a table without averaging"),
        ("leaderboard", "per_image", "a table without averaging"),
        ("leaderboard", "curve", "the points of curves"),
        ("comparisons", "summary", "a table without id"),
    ],
)
def test_table_of_another_kind_is_refused_and_not_to_be_deleted(tmp_path, command, kind, found):
    right, wrong = summary(tmp_path, "a-seed1", 0.2, 0.5), tmp_path / "wrong.csv"
    table = pd.read_csv(right)
    if kind == "per_image":
        table = table.drop(columns=["averaging", "images"]).assign(id="01")
    elif kind == "curve":
        table = table.assign(level=0)
    table.to_csv(wrong, index=False)
    Manifest.describe(Fingerprint(stage="evaluate", settings={}, code={}, libraries={}), [wrong]).write(wrong)
    use = {
        "average": partial(average, [right, wrong], ["a-seed1", "a-seed2"], tmp_path / "out.csv"),
        "leaderboard": partial(build_leaderboard, summaries=[right, wrong], output=tmp_path / "out.csv"),
        "comparisons": partial(compare_methods, per_image=[wrong], output=tmp_path / "out.csv"),
    }
    with pytest.raises(PredictionError) as caught:
        use[command]()
    (problem,) = caught.value.problems
    assert problem.where == str(wrong)
    assert found in problem.found
    assert problem.remedy.startswith("name the")


def test_leaderboard_has_std_below_its_mean(tmp_path):
    runs = ["a-seed1", "a-seed2"]
    summaries = [summary(tmp_path, run, f1, 0.5) for run, f1 in zip(runs, (0.2, 0.6), strict=True)]
    average(summaries, runs, tmp_path / "a.csv")
    summaries += [tmp_path / "a.csv", summary(tmp_path, "b", 0.3, 0.5)]
    build_leaderboard(summaries=summaries, output=tmp_path / "board.csv")
    board = read(tmp_path / "board.csv")
    test = board[(board["split"] == "test") & (board["averaging"] == "macro")]
    assert test[["experiment", "statistic", "runs", "f1"]].to_numpy().tolist() == [
        ["a-seed2", "run", "1", "0.700000"],
        ["a", "mean", "2", "0.500000"],
        ["a", "std", "2", "0.282843"],
        ["b", "run", "1", "0.400000"],
        ["a-seed1", "run", "1", "0.300000"],
    ]


def test_out_of_fold_rows_are_between_test_and_validation(tmp_path):
    ensemble = summary(tmp_path, "a.ensemble", 0.9, 0.5)
    ensemble.write_text(ensemble.read_text().replace("validation", "out-of-fold"))
    build_leaderboard(summaries=[summary(tmp_path, "a-fold0", 0.3, 0.5), ensemble], output=tmp_path / "board.csv")
    board = read(tmp_path / "board.csv")
    macro = board[board["averaging"] == "macro"]
    assert macro[["split", "experiment", "statistic", "runs"]].to_numpy().tolist() == [
        ["test", "a.ensemble", "run", "1"],
        ["test", "a-fold0", "run", "1"],
        ["out-of-fold", "a.ensemble", "run", "1"],
        ["validation", "a-fold0", "run", "1"],
    ]
