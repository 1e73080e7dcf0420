"""Folds and seeds of one experiment and their ensembles, run by real Snakemake."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from projects import CONFIG, Project
from rawfiles import add_drive, make_drive, make_shapes

from pipeline.cli.main import main
from pipeline.images.png import read_grey

pytestmark = pytest.mark.slow

DATA = yaml.safe_load(CONFIG)
ONE = {**DATA["experiments"]["a"], "epochs": 1}
SHAPES = {
    "layout": "folder",
    "root": "raw/shapes",
    "images": "{split}_imgs",
    "masks": "{split}_mask",
    "labels": {0: "background", 1: "disc", 2: "triangle", 3: "square"},
    "size": [32, 32],
    "normalize": "unit",
    "test": "official",
    "validation": {"fraction": 0},
}
EXPERIMENTS = {
    "a": {**ONE, "folds": 2, "seeds": [1, 2]},
    "m": {
        **ONE,
        "dataset": "c",
        "model": {"name": "unet-crop", "widths": [4, 8]},
        "loss": "cross-entropy",
        "folds": 2,
        "keep_probability": True,
    },
}
RUNS = [f"a-fold{fold}-seed{seed}" for fold in range(2) for seed in (1, 2)]
MADE = ("metrics_a", "results/metrics/m.ensemble/summary.csv")
TITLES = ["background", "disc", "triangle", "square"]


def write_config(project, **changes):
    experiments = {name: {**output, **changes.get(name, {})} for name, output in EXPERIMENTS.items()}
    d = {**DATA["datasets"]["d"], "shards": 1, "test": "official"}
    project.config.write_text(yaml.safe_dump({"datasets": {"d": d, "c": SHAPES}, "experiments": experiments}))


@pytest.fixture(scope="module")
def folded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folds")
    make_drive(folder / "raw" / "DRIVE", training=5, test=2)
    make_shapes(folder / "raw" / "shapes", training=4, validation=1)
    project = Project(folder)
    write_config(project)
    project.snakemake(*MADE, timeout=900)
    return project


def of(project, name, split, kind="probability"):
    return project.folder / "results/predictions" / name / split / kind


def names(folder):
    return sorted(path.stem for path in folder.glob("*.png"))


def table_of(project, dataset):
    return json.loads((project.folder / f"results/folds/{dataset}/2.json").read_text())["fold_by_id"]


def test_samples_are_predicted_by_networks_of_other_folds(folded):
    members = table_of(folded, "d")
    assert sorted(members) == ["21", "22", "23", "24", "25"]
    for run in RUNS:
        fold = int(run[len("a-fold")])
        assert names(of(folded, run, "validation")) == [name for name, its in members.items() if its == fold]
    assert names(of(folded, "a.ensemble", "out-of-fold")) == sorted(members)
    for name, fold in members.items():
        unseen = [of(folded, f"a-fold{fold}-seed{seed}", "validation") / f"{name}.png" for seed in (1, 2)]
        mean = np.mean([read_grey(path) for path in unseen], axis=0)
        np.testing.assert_array_equal(
            read_grey(of(folded, "a.ensemble", "out-of-fold") / f"{name}.png"), np.ceil(mean - 0.5)
        )
    for name in names(of(folded, RUNS[0], "test")):
        mean = np.mean([read_grey(of(folded, run, "test") / f"{name}.png") for run in RUNS], axis=0)
        np.testing.assert_array_equal(read_grey(of(folded, "a.ensemble", "test") / f"{name}.png"), np.ceil(mean - 0.5))


def test_ensemble_takes_the_class_with_the_highest_mean(folded):
    members = table_of(folded, "c")
    assert len(members) == 5  # official validation samples are in folds, too
    assert names(of(folded, "m.ensemble", "out-of-fold", "mask")) == sorted(members)
    for name in names(of(folded, "m.ensemble", "test", "mask")):
        levels = [
            [read_grey(of(folded, f"m-fold{fold}", "test") / title / f"{name}.png") for title in TITLES]
            for fold in range(2)
        ]
        likeliest = np.mean(levels, axis=0).argmax(axis=0)
        np.testing.assert_array_equal(read_grey(of(folded, "m.ensemble", "test", "mask") / f"{name}.png"), likeliest)


def test_scores_name_their_splits(folded):
    scores = {
        name: pd.read_csv(folded.folder / f"results/metrics/{name}/summary.csv") for name in (*RUNS, "a", "a.ensemble")
    }
    for run in RUNS:
        assert set(scores[run]["split"]) == {"validation", "test"}
        assert set(scores[run]["threshold_source"]) == {"validation"}
    ensemble = scores["a.ensemble"]
    assert set(ensemble["split"]) == {"out-of-fold", "test"}
    assert set(ensemble["threshold_source"]) == {"out-of-fold"}
    assert set(ensemble.loc[ensemble["split"] == "out-of-fold", "images"]) == {5}
    threshold = json.loads((folded.folder / "results/predictions/a.ensemble/threshold.json").read_text())
    assert threshold["criterion"].endswith("native size, 5 out-of-fold samples")
    assert set(scores["a"]["runs"]) == {4}
    of_classes = pd.read_csv(folded.folder / "results/metrics/m.ensemble/summary.csv")
    assert set(of_classes["split"]) == {"out-of-fold", "test"}


def test_folds_share_the_shards(folded):
    made = {path for path in folded.files() if not path.endswith(".manifest.json")}
    assert {path for path in made if path.startswith("results/shards")} == {
        *(f"results/shards/d/{split}-0.h5" for split in ("train", "validation", "test")),
        *(f"results/shards/c/{split}-0.h5" for split in ("train", "test")),
    }
    assert {path for path in made if path.startswith("results/folds")} == {
        "results/folds/c/2.json",
        "results/folds/d/2.json",
    }


def test_all_results_are_explained_and_needed(folded, monkeypatch, capsys):
    monkeypatch.chdir(folded.folder)
    for path in (
        "results/folds/d/2.json",
        "results/models/a-fold0-seed1",
        "results/predictions/a-fold0-seed1/validation/probability",
        "results/predictions/a.ensemble/out-of-fold/probability/21.png",
        "results/predictions/m.ensemble/test/mask",
        "results/metrics/a.ensemble",
    ):
        assert main(["explain", path]) == 0
        assert "current     yes: " in capsys.readouterr().out, path
    assert main(["clean", "--yes"]) == 0
    assert "holds nothing that is not needed" in capsys.readouterr().out


def test_ensemble_command_agrees_and_rejects_foreign_inputs(folded, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(folded.folder)
    words = ["ensemble", "--experiment", "a", "--split", "out-of-fold", "--output", str(tmp_path / "out")]
    assert main(words) == 0
    made = of(folded, "a.ensemble", "out-of-fold")
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == {
        p.name: p.read_bytes() for p in made.iterdir() if not p.name.startswith(".")
    }
    other = yaml.safe_load(folded.config.read_text())
    other["experiments"]["a"]["optimizer"]["lr"] = 0.3
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(other))
    assert main([*words, "--config", str(tmp_path / "other.yaml")]) == 1
    output = capsys.readouterr().err
    assert "(4 problems)" in output
    assert "results/predictions/a-fold1-seed2/validation/probability --config" in output
    assert f"snakemake --configfile {tmp_path / 'other.yaml'}" in output
    told = ["explain", "results/models/a-fold1-seed2/best.pt", "--config", str(tmp_path / "other.yaml")]
    assert main(told) == 0
    assert "optimizer.lr is 0.02, expected 0.3" in capsys.readouterr().out


def test_changes_rerun_the_expected_jobs(folded):
    assert folded.planned(*MADE) == {}
    try:
        write_config(folded, a={"seeds": [2, 1]})
        assert set(folded.planned("metrics_a")) <= {"average", "metrics_a"}
        write_config(folded, a={"seeds": [1, 2, 3]})
        planned = folded.planned("metrics_a")
        assert (planned["train"], planned["ensemble"], planned["threshold"], planned["average"]) == (2, 2, 3, 1)
        assert not {"shard", "folds"} & planned.keys()
        write_config(folded, a={"folds": 3})
        planned = folded.planned("metrics_a")
        assert (planned["folds"], planned["train"]) == (1, 6)
        assert "shard" not in planned
        write_config(folded, a={"ensemble": False})
        assert folded.planned("metrics_a") == {}
        write_config(folded)
        add_drive(folded.folder / "raw/DRIVE", "test", 3)
        planned = folded.planned("metrics_a")
        assert not {"train", "folds", "threshold"} & planned.keys()
        assert (planned["shard"], planned["predict"], planned["ensemble"]) == (1, 4, 1)
        add_drive(folded.folder / "raw/DRIVE", "training", 26)
        planned = folded.planned("metrics_a")
        assert (planned["folds"], planned["train"]) == (1, 4)
    finally:
        write_config(folded)


def test_more_folds_than_samples_stop_the_workflow_early(folded):
    try:
        write_config(folded, a={"folds": 40})
        assert folded.snakemake("-n", "metrics_a", check=False) != 0
        assert "40 folds of" in folded.output
        assert "at least one sample in every fold" in folded.output
    finally:
        write_config(folded)
