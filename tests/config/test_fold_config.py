"""What `folds` and `ensemble` of an experiment make of the configuration, and of the plans of its results."""

import pytest
from pipeline.cli.origin import of_run

from pipeline.cli.main import main
from pipeline.config.config import parse
from pipeline.core.errors import ConfigError
from pipeline.evaluation.entrants import is_baseline
from pipeline.graph import clean, plans
from pipeline.report.suspicion import suspicions

DRIVE = {"layout": "drive", "root": "raw", "size": [64, 64]}
CELLS = {
    "layout": "folder",
    "root": "raw",
    "images": "i",
    "masks": "m",
    "labels": {0: "background", 1: "nucleus", 2: "wall"},
    "size": [64, 64],
    "normalize": "unit",
    "test": {"method": "fraction", "fraction": 0.2},
}
SHAPES = {"layout": "shapes", "root": "raw", "size": [64, 64]}
DATASETS = {
    "d": DRIVE,
    "g": {**DRIVE, "validation": {"fraction": 0.3, "seed": 4, "group": {"pattern": "^(.)"}}},
    "s": {**DRIVE, "validation": {"method": "k-fold", "folds": 2, "fold": 1, "stratify": "foreground"}},
    "n": {**DRIVE, "validation": {"fraction": 0}},
    "l": {**DRIVE, "validation": {"method": "list", "file": "validation.txt"}},
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
    return parse({"datasets": DATASETS, "experiments": {name: {**ONE, **said} for name, said in experiments.items()}})


def test_runs_are_called_by_fold_and_seed():
    config = parsed(a={"folds": 2}, b={"folds": 2, "seeds": [7, 3]}, c={"seeds": [1]}, d={"seed": 5})
    assert config.seeded() == {
        "a": ["a-fold0", "a-fold1"],
        "b": ["b-fold0-seed7", "b-fold0-seed3", "b-fold1-seed7", "b-fold1-seed3"],
        "c": ["c-seed1"],
    }
    assert config.fold_of("b-fold1-seed3") == {"folds": 2, "fold": 1}
    assert config.fold_of("c-seed1") is config.fold_of("d") is None
    assert config.experiments["a-fold1"].seed == 0
    assert config.experiments["b-fold1-seed3"].seed == 3


def test_ensembles_are_those_of_at_least_two_runs():
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
    assert list(config.ensembles()) == ["a.ensemble", "d.ensemble", "k.ensemble"]
    assert config.without_ensemble() == ["m"]
    assert config.dataset_of("k.ensemble") == "c"
    assert config.multiclass("k.ensemble")
    assert [config.validated_on(name) for name in ("a.ensemble", "d.ensemble", "a-fold0", "d.all-background")] == [
        "out-of-fold",
        "validation",
        "validation",
        "validation",
    ]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"folds": 1}, "greater than or equal to 2"),
        ({"folds": 1001}, "less than or equal to 1000"),
        ({"folds": True}, "not yes/no"),
        ({"folds": 2.5}, "integer"),
        ({"fold": 1}, "unknown key 'fold'"),
        ({"of": "a"}, "unknown key 'of'"),
        ({"ensemble": True}, "one network is no ensemble"),
        ({"ensemble": True, "seeds": [1]}, "one network is no ensemble"),
        ({"dataset": "shapes", "loss": "cross-entropy", "folds": 3}, "'shapes' has official validation samples"),
        ({**OF_CLASSES, "folds": 2, "ensemble": True}, "set `keep_probability: true`, or remove `ensemble`"),
    ],
)
def test_what_cannot_be_is_said(said, message):
    with pytest.raises(ConfigError, match=message):
        parsed(a=said)


def test_names_that_clash_are_said():
    with pytest.raises(ConfigError, match=r"experiments.a.folds\n.*'a-fold1', which is also experiment 'a-Fold1'"):
        parsed(**{"a": {"folds": 2}, "a-Fold1": {}})
    with pytest.raises(ConfigError, match="'a-fold0-seed1', which is also a run of 'a'"):
        parsed(**{"a": {"folds": 2, "seeds": [1]}, "a-fold0": {"seeds": [1]}})


def test_folds_need_no_validation_samples_of_the_data_set():
    with pytest.raises(ConfigError, match="its data set has none"):
        parsed(a={"dataset": "n", "threshold": 0.5, "monitor": "val_dice"})
    config = parsed(a={"dataset": "n", "folds": 3, "monitor": "val_dice", "early_stopping": 2})
    assert config.threshold_settings("a-fold2")["source"]["validation"] == {
        "method": "k-fold",
        "folds": 3,
        "fold": 2,
        "seed": 0,
    }


@pytest.mark.parametrize(
    ("dataset", "drawing"),
    [
        ("d", {"seed": 0}),
        ("g", {"seed": 4, "group": {"pattern": "^(.)"}}),
        ("s", {"seed": 0, "stratify": "foreground"}),
        ("l", {"seed": 0}),
    ],
)
def test_folds_are_drawn_as_validation_samples_are(dataset, drawing):
    config = parsed(a={"dataset": dataset, "folds": 3})
    source = config.source_of("a-fold1", "validation")
    assert source["validation"] == {"method": "k-fold", "folds": 3, "fold": 1, **drawing}
    table = config.fold_settings(dataset, 3)
    assert {key: value for key, value in table.items() if key != "source"} == {"folds": 3, **drawing}
    assert "validation" not in table["source"]
    assert ("cache" in source) == ("cache" in table["source"]) == (dataset == "s")
    assert "validation" not in config.source_of("a.ensemble", "out-of-fold")


def test_no_job_is_told_of_other_runs():
    few, many = parsed(a={"folds": 3, "seeds": [1, 2]}), parsed(a={"folds": 3, "seeds": [1, 2, 3]})
    run = "a-fold0-seed2"
    assert plans.prediction(few, run, "validation", "probability") == plans.prediction(
        many, run, "validation", "probability"
    )
    assert plans.scoring_parts(few, run, ["validation", "test"]) == plans.scoring_parts(
        many, run, ["validation", "test"]
    )
    settings = few.train_settings(run)
    assert settings["fold"] == {"folds": 3, "fold": 0}
    assert not {"folds", "seeds", "of", "ensemble"} & settings.keys()


def test_without_folds_nothing_is_said_of_them():
    config = parsed(a={}, b={"seeds": [1, 2]})
    for name in ("a", "b-seed1"):
        said = [
            config.train_settings(name),
            config.augmented_settings(name),
            config.predict_settings(name, "validation"),
        ]
        assert not any({"fold", "folds", "ensemble", "of"} & settings.keys() for settings in said)
        assert "folds" not in plans.training_parts(config, name)
    assert "split" not in config.threshold_settings("b.ensemble")


def test_only_predictions_of_the_fold_depend_on_the_table():
    config = parsed(a={"folds": 3})
    assert plans.prediction_parts(config, "a-fold1", "test").keys() == {"checkpoint", "shards"}
    parts = plans.prediction_parts(config, "a-fold1", "validation")
    assert parts.keys() == {"checkpoint", "train shards", "validation shards", "folds"}
    assert "fold" not in config.predict_settings("a-fold1", "test")


@pytest.mark.parametrize("split", ["out-of-fold", "validation", "test", "unlabelled"])
@pytest.mark.parametrize("more", [{"folds": 3}, {"folds": 3, "seeds": [2, 1]}, {"seeds": [12, 2, 5]}])
def test_the_plan_of_one_run_gives_those_of_all(more, split):
    config = parsed(a=more)
    settings = config.ensemble_settings("a.ensemble", split)
    assert list(settings["runs"]) == config.seeded()["a"]
    said = plans.ensemble_parts(config, "a.ensemble", split)["predictions"]
    predicted = "validation" if split == "out-of-fold" else split
    for run, of in settings["runs"].items():
        assert of_run(said, **of) == plans.prediction(config, run, predicted, "probability")


def test_the_order_of_seeds_does_not_count_and_their_number_does():
    ways = [parsed(a={"seeds": seeds}) for seeds in ([1, 2, 3], [3, 1, 2], [1, 2])]
    first, second, third = (plans.prediction(config, "a.ensemble", "test", "probability") for config in ways)
    assert first == second != third


def test_plans_of_many_runs_fit_into_a_command():
    config = parsed(a={"folds": 20, "seeds": list(range(10)), "augment": {"flip": "both"}})
    parts = plans.scoring_parts(config, "a.ensemble", ["out-of-fold", "test"])
    assert len(str(parts)) < 64 * 1024  # Linux takes 128 KiB


def test_an_ensemble_has_learnt_and_may_be_doubted():
    assert not is_baseline("a.ensemble")
    assert is_baseline("d.second-observer")
    row = {"layout": "drive", "split": "test", "region": "fov", "origin": "raw files", "f1": "0.95", "accuracy": "0.9"}
    assert "likely leak: f1 0.9500" in suspicions({**row, "experiment": "a.ensemble"})
    assert suspicions({**row, "experiment": "d.second-observer"}) == ""
    assert "1 pictures also stand" in suspicions({**row, "experiment": "a.ensemble", "f1": "0.5"}, "1")


def test_what_folds_and_ensembles_left_behind_can_go(tmp_path):
    kept = [
        "folds/d/3.json",
        "predictions/a-fold0/validation/mask/1.png",  # the data set itself has no validation samples
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
    found = clean.survey(
        tmp_path / "results",
        members={"d": {"train": [0], "test": [0]}},
        experiments={"a-fold0": "d", "a.ensemble": "d", "b.ensemble": "d"},
        averaged=["a", "b"],
        folds={"d": {3}},
        validated={"a-fold0": "validation", "a.ensemble": "out-of-fold"},
    )
    assert {str(one.path.relative_to(tmp_path / "results")) for one in found.unneeded} == gone.keys()


def test_the_verb_names_what_has_an_ensemble(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
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
    assert "results/predictions/a-fold1/test/probability\n    found:    no pictures" in capsys.readouterr().err
    assert main(["train", "--experiment", "a"]) == 2
    assert "an experiment of several runs: a-fold0, a-fold1" in capsys.readouterr().err
    assert main(["ensemble", "--experiment", "a", "--split", "out-of-fold"]) == 1
    assert "results/folds/d/2.json\n    found:    [Errno 2]" in capsys.readouterr().err


def test_means_over_folds_know_that_they_are():
    config = parsed(a={"folds": 2}, b={"seeds": [1, 2]})
    assert config.average_settings("a") == {"runs": ["a-fold0", "a-fold1"], "folds": True}
    assert config.average_settings("b") == {"runs": ["b-seed1", "b-seed2"]}


@pytest.mark.parametrize(
    "wrong", ['"seed": 1', '"folds": 2, "fold": 2', '"folds": 2, "fold": -1', '"folds": 2, "fold": "1"']
)
def test_settings_name_one_of_so_many_folds(tmp_path, monkeypatch, capsys, wrong):
    monkeypatch.chdir(tmp_path)
    runs = f'{{"dataset": "d", "runs": {{"x": {{"folds": 2, "fold": 0}}, "y": {{{wrong}}}}}}}'
    ensemble = ["ensemble", "--experiment", "a", "--split", "out-of-fold", "--settings", runs]
    train = ["train", "--experiment", "a", "--settings", f'{{"dataset": "d", "fold": {{{wrong}}}}}']
    for words in (ensemble, train):
        assert main(words) == 2
        said = capsys.readouterr().err
        assert f"the fold {{{wrong}}}" in said
        assert '{"folds": K, "fold": I}, I from 0 to K - 1' in said
