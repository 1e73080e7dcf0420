"""Effects of `folds`, `seeds` and `ensemble` of an experiment on the configuration and on plans."""

import json

import cv2
import numpy as np
import pytest
from rawfiles import make_drive, make_shapes

from pipeline.cli.main import main
from pipeline.config.config import parse
from pipeline.core.errors import ConfigError
from pipeline.evaluation.methods import is_baseline
from pipeline.graph import clean
from pipeline.graph.artifacts import Augmented, Average, Checkpoint, Ensemble, FoldTable, Predictions, Scores, Threshold
from pipeline.graph.base import identity_of, plan_of
from pipeline.graph.study import Study
from pipeline.report.suspicion import suspicions

DRIVE = {"layout": "drive", "root": "drive", "size": [64, 64]}
CELLS = {
    "layout": "folder",
    "root": "cells",
    "images": "i",
    "masks": "m",
    "labels": {0: "background", 1: "nucleus", 2: "wall"},
    "size": [64, 64],
    "normalize": "unit",
    "test": {"rule": "fraction", "fraction": 0.2},
}
SHAPES = {"layout": "shapes", "root": "shapes", "size": [64, 64]}
DATASETS = {
    "d": DRIVE,
    "g": {**DRIVE, "validation": {"fraction": 0.3, "seed": 4, "group": {"pattern": "(.)$"}}},
    "s": {**DRIVE, "validation": {"rule": "k-fold", "folds": 2, "fold": 1, "stratify": "foreground"}},
    "n": {**DRIVE, "validation": {"fraction": 0}},
    "l": {**DRIVE, "validation": {"rule": "list", "file": "validation.txt"}},
    "c": CELLS,
    "shapes": SHAPES,
}
ONE = {
    "dataset": "d",
    "model": "unet",
    "loss": "bce",
    "optimizer": {"name": "sgd", "lr": 0.1},
    "batch_size": 1,
    "epochs": 1,
}
OF_CLASSES = {**ONE, "dataset": "c", "loss": "cross-entropy"}


def parsed(**experiments):
    experiments = {name: {**ONE, **changes} for name, changes in experiments.items()}
    return Study(parse({"datasets": DATASETS, "experiments": experiments}))


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    make_drive(folder / "drive", training=20)
    make_shapes(folder / "shapes")
    (folder / "drive/validation.txt").write_text("21\n22\n")
    for part in ("i", "m"):
        (folder / "cells" / part).mkdir(parents=True)
        for number in range(12):
            cv2.imwrite(str(folder / "cells" / part / f"{number}.png"), np.full((64, 64), number % 3, np.uint8))
    return folder


@pytest.fixture(autouse=True)
def beside_raw_data(raw, monkeypatch):
    monkeypatch.chdir(raw)


def plan(study, artifact):
    return json.loads(plan_of(artifact, study).to_json())


def test_run_names_contain_fold_and_seed():
    config = parsed(a={"folds": 2}, b={"folds": 2, "seeds": [7, 3]}, c={"seeds": [1]}, d={"seed": 5})
    assert config.runs == {
        "a": ["a-fold0", "a-fold1"],
        "b": ["b-fold0-seed7", "b-fold0-seed3", "b-fold1-seed7", "b-fold1-seed3"],
        "c": ["c-seed1"],
    }
    assert config.fold_of("b-fold1-seed3").plain() == {"folds": 2, "fold": 1}
    assert config.fold_of("c-seed1") is config.fold_of("d") is None
    assert config.experiments["a-fold1"].seed == 0
    assert config.experiments["b-fold1-seed3"].seed == 3


def test_ensembles_need_two_runs():
    config = parsed(
        a={"folds": 2},
        b={"folds": 2, "ensemble": False},
        c={"seeds": [1]},
        d={"seeds": [1, 2]},
        e={},
        m={**OF_CLASSES, "folds": 2},
        k={**OF_CLASSES, "folds": 2, "keep_probability": True},
        q={**OF_CLASSES, "folds": 2, "ensemble": False},
    )
    assert list(config.ensembles) == ["a.ensemble", "d.ensemble", "k.ensemble"]
    assert config.without_ensemble == ["m"]
    assert config.dataset_of("k.ensemble") == "c"
    assert config.multiclass("k.ensemble")
    assert [config.validation_split(name) for name in ("a.ensemble", "d.ensemble", "a-fold0", "d.all-background")] == [
        "out-of-fold",
        "validation",
        "validation",
        "validation",
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"folds": 1}, "greater than or equal to 2"),
        ({"folds": 1001}, "less than or equal to 1000"),
        ({"folds": True}, "not yes/no"),
        ({"folds": 2.5}, "integer"),
        ({"fold": 1}, "unknown key 'fold'"),
        ({"experiment": "a"}, "unknown key 'experiment'"),
        ({"ensemble": True}, "an ensemble needs several networks"),
        ({"ensemble": True, "seeds": [1]}, "an ensemble needs several networks"),
        ({"dataset": "shapes", "loss": "cross-entropy", "folds": 3}, "'shapes' has official validation samples"),
        ({**OF_CLASSES, "folds": 2, "ensemble": True}, "set `keep_probability: true`, or remove `ensemble`"),
    ],
)
def test_invalid_experiments_are_rejected(changes, message):
    with pytest.raises(ConfigError, match=message):
        parsed(a=changes)


def test_clashing_run_names_are_rejected():
    with pytest.raises(
        ConfigError, match=r"experiments.a.folds\n.*'a-fold1', which is also the name of experiment 'a-Fold1'"
    ):
        parsed(**{"a": {"folds": 2}, "a-Fold1": {}})
    with pytest.raises(ConfigError, match="'a-fold0-seed1', which is also the name of a run of 'a'"):
        parsed(**{"a": {"folds": 2, "seeds": [1]}, "a-fold0": {"seeds": [1]}})


def test_folds_work_without_validation_samples():
    with pytest.raises(ConfigError, match="its data set has none"):
        parsed(a={"dataset": "n", "threshold": 0.5, "monitor": "val_dice"})
    config = parsed(a={"dataset": "n", "folds": 3, "monitor": "val_dice", "early_stopping": 2})
    assert plan(config, Threshold("a-fold2"))["recipe"]["source"]["validation"] == {
        "rule": "k-fold",
        "folds": 3,
        "fold": 2,
        "seed": 0,
    }


@pytest.mark.parametrize(
    ("dataset", "drawing"),
    [
        ("d", {"seed": 0}),
        ("g", {"seed": 4, "group": {"pattern": "(.)$"}}),
        ("s", {"seed": 0, "stratify": "foreground"}),
        ("l", {"seed": 0}),
    ],
)
def test_folds_use_seed_strata_and_groups_of_validation(dataset, drawing):
    config = parsed(a={"dataset": dataset, "folds": 3})
    source = config.source_of("a-fold1", "validation").plain()
    assert source["validation"] == {"rule": "k-fold", "folds": 3, "fold": 1, **drawing}
    table = plan(config, FoldTable(dataset, 3))["recipe"]
    assert (table["folds"], table["sampling"]) == (3, drawing)
    assert "validation" not in table["source"]
    assert ("cache" in source) == ("cache" in table["source"]) == (dataset == "s")
    assert config.source_of("a.ensemble", "out-of-fold").validation is None


def test_plan_of_a_run_is_independent_of_other_runs():
    few, many = parsed(a={"folds": 3, "seeds": [1, 2]}), parsed(a={"folds": 3, "seeds": [1, 2, 3]})
    run = "a-fold0-seed2"
    for artifact in (Predictions(run, "validation", "probability"), Scores(run)):
        assert plan(few, artifact) == plan(many, artifact)
    settings = plan(few, Checkpoint(run))["recipe"]
    assert settings["fold"] == {"folds": 3, "fold": 0}
    assert not {"folds", "seeds", "experiment", "ensemble"} & settings.keys()


def test_recipe_without_folds_does_not_mention_them():
    config = parsed(a={}, b={"seeds": [1, 2]})
    for name in ("a", "b-seed1"):
        made = (Checkpoint(name), Augmented(name), Predictions(name, "validation", "probability"))
        for plain in (plan(config, artifact) for artifact in made):
            assert not {"fold", "folds", "ensemble", "experiment"} & plain["recipe"].keys()
            assert "folds" not in plain["made_from"]
    assert plan(config, Threshold("b.ensemble"))["recipe"]["split"] == "validation"


def test_only_fold_predictions_depend_on_the_fold_table():
    config = parsed(a={"folds": 3})
    test = plan(config, Predictions("a-fold1", "test", "probability"))
    assert test["made_from"].keys() == {"checkpoint", "shards"}
    assert "fold" not in test["recipe"]
    validation = plan(config, Predictions("a-fold1", "validation", "probability"))
    assert validation["made_from"].keys() == {"checkpoint", "shards", "train_shards", "folds"}


@pytest.mark.parametrize("split", ["out-of-fold", "validation", "test"])
@pytest.mark.parametrize("more", [{"folds": 3}, {"folds": 3, "seeds": [2, 1]}, {"seeds": [12, 2, 5]}])
def test_ensemble_needs_the_predictions_of_each_run(more, split):
    config = parsed(a=more)
    ensemble = plan_of(Ensemble("a", split, "probability"), config)
    assert list(ensemble.recipe.runs) == config.runs["a"]
    predicted = "validation" if split == "out-of-fold" else split
    asked = [identity_of(Predictions(run, predicted, "probability"), config) for run in sorted(ensemble.recipe.runs)]
    assert ensemble.made_from["predictions"] == asked
    assert len(set(asked)) == len(config.runs["a"])


def test_ensemble_depends_on_the_set_of_seeds_not_their_order():
    ways = [parsed(a={"seeds": seeds}) for seeds in ([1, 2, 3], [3, 1, 2], [1, 2])]
    first, second, third = (plan(config, Ensemble("a", "test", "probability")) for config in ways)
    assert first == second != third


def test_plan_of_many_runs_fits_into_a_command_line():
    config = parsed(a={"folds": 20, "seeds": list(range(10)), "augment": {"flip": "both"}})
    text = plan_of(Scores("a.ensemble"), config).to_json()
    assert len(text) < 64 * 1024  # Linux takes 128 KiB


def test_suspicions_apply_to_ensembles_but_not_baselines():
    assert not is_baseline("a.ensemble")
    assert is_baseline("d.second-observer")
    row = {"layout": "drive", "split": "test", "region": "fov", "origin": "raw files", "f1": "0.95", "accuracy": "0.9"}
    assert "likely leak: f1 0.9500" in suspicions({**row, "experiment": "a.ensemble"})
    assert suspicions({**row, "experiment": "d.second-observer"}) == ""
    assert "1 image also in another split" in suspicions({**row, "experiment": "a.ensemble", "f1": "0.5"}, "1")


def test_clean_finds_results_of_removed_folds_and_ensembles(tmp_path):
    kept = [
        "folds/d/3.json",
        "predictions/a-fold0/validation/mask/1.png",  # the data set has no validation samples of its own
        "predictions/a.ensemble/out-of-fold/mask/1.png",
        "predictions/a.ensemble/test/mask/1.png",
        "predictions/b.ensemble/test/mask/1.png",
        "metrics/a.ensemble/summary.csv",
        "metrics/a.ensemble/curve.csv",
        "metrics/a/summary.csv",
        "folds/d/notes.txt",
    ]
    gone = {
        "folds/d/5.json": "folds/d/5.json",
        "folds/old": "folds/old/3.json",
        "predictions/a.ensemble/validation": "predictions/a.ensemble/validation/mask/1.png",
        "predictions/b.ensemble/out-of-fold": "predictions/b.ensemble/out-of-fold/mask/1.png",
        "predictions/a-fold7": "predictions/a-fold7/test/mask/1.png",
        "metrics/c.ensemble": "metrics/c.ensemble/summary.csv",
        "metrics/a/curve.csv": "metrics/a/curve.csv",  # from before it had folds
        "metrics/a/per_image.csv": "metrics/a/per_image.csv",
    }
    for name in (*kept, *gone.values()):
        path = tmp_path / "results" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    config = parsed(a={"folds": 3}, b={"seeds": [1, 2]})
    found = clean.find_unneeded(config, tmp_path / "results")
    assert {str(one.path.relative_to(tmp_path / "results")) for one in found.unneeded} == gone.keys()


def test_ensemble_command_names_experiments_with_ensemble(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_drive(tmp_path / "raw")
    (tmp_path / "config.yaml").write_text(
        "datasets: {d: {layout: drive, root: raw, size: [64, 64]}}\n"
        "experiments:\n"
        "  a: {dataset: d, model: unet, loss: bce, optimizer: {name: sgd, lr: 0.1}, batch_size: 1, epochs: 1,\n"
        "     folds: 2}\n"
        "  b: {dataset: d, model: unet, loss: bce, optimizer: {name: sgd, lr: 0.1}, batch_size: 1, epochs: 1}\n"
    )
    assert main(["ensemble", "--experiment", "b", "--split", "test"]) == 2
    assert "expected: one of a\n" in capsys.readouterr().err
    assert main(["ensemble", "--experiment", "a", "--split", "test"]) == 1
    assert "results/predictions/a-fold1/test/probability\n    found:    no images" in capsys.readouterr().err
    assert main(["train", "--experiment", "a"]) == 2
    assert "an experiment of several runs: a-fold0, a-fold1" in capsys.readouterr().err
    assert main(["ensemble", "--experiment", "a", "--split", "out-of-fold"]) == 1
    assert "results/folds/d/2.json\n    found:    [Errno 2]" in capsys.readouterr().err


def test_average_recipe_tells_folds_from_seeds():
    config = parsed(a={"folds": 2}, b={"seeds": [1, 2]})
    assert plan(config, Average("a"))["recipe"] == {"runs": ["a-fold0", "a-fold1"], "folds": True}
    assert plan(config, Average("b"))["recipe"] == {"runs": ["b-seed1", "b-seed2"], "folds": False}


@pytest.mark.parametrize("wrong", [{"seed": 1}, {"fold": 3}, {"fold": -1}, {"fold": "x"}])
def test_plan_with_an_invalid_fold_is_rejected(capsys, wrong):
    plain = plan(parsed(a={"folds": 3}), Checkpoint("a-fold0"))
    plain["recipe"]["fold"].update(wrong)
    assert main(["train", "--experiment", "a", "--plan", json.dumps(plain)]) == 2
    assert "--plan\n    found:    fold" in capsys.readouterr().err
