"""What is said of results that a real workflow made, as they are and after changes."""

import os
import shutil
import subprocess
import sys

import h5py
import pytest
import yaml
from projects import ROOT
from rawfiles import add_drive, blobs, write_tif

from pipeline.cli import main as cli

RESULTS = [
    ("shards/d/train-0.h5", "shard", True),
    ("splits/d.csv", "splits", False),
    ("models/a", "train", True),
    ("models/a/best.pt", "train", True),
    ("models/a/last.pt", "train", True),
    ("models/a/history.csv", "train", True),
    ("models/a/curves.png", "curves", False),
    ("models/a/augmented.png", "augmented", False),
    ("predictions/a/threshold.json", "threshold", True),
    ("predictions/b-2/threshold.json", "threshold", True),
    ("predictions/a/test/probability", "predict", True),
    ("predictions/a/test/probability/01.png", "predict", True),
    ("predictions/a/validation/mask", "render", True),
    ("predictions/a/test/overlay/01.png", "render", True),
    ("predictions/a/test/sheet.png", "render", True),
    ("predictions/b-2/unlabelled/submission", "submission", False),
    ("predictions/d.second-observer/test/probability/01.png", "baseline", True),
    ("metrics/a", "evaluate", True),
    ("metrics/a/summary.csv", "evaluate", True),
    ("metrics/d.second-observer/summary.csv", "evaluate", True),
    ("metrics/a/intervals.csv", "evaluate", True),
    ("comparisons.csv", "comparisons", False),
    ("leaderboard.csv", "leaderboard", False),
    ("report.html", "report", False),
]


@pytest.fixture
def explain(project, monkeypatch, capsys):
    monkeypatch.chdir(project.folder)

    def said(path):
        assert cli.main(["explain", f"results/{path}"]) == 0, capsys.readouterr().err
        return " ".join(capsys.readouterr().out.split())

    return said


def test_of_a_finished_workflow_all_is_current(explain, finished):
    for path, stage, signed in RESULTS:
        said = explain(path)
        assert said.startswith(f"results/{path} what "), said
        assert f"made by stage {stage} (pipeline." in said
        assert ("current not known" if stage == "splits" else "current yes") in said, said
        assert ("fingerprint" in said.split(" current ")[0]) == signed, said
    said = explain("models/a/best.pt")
    for words in (
        "optimizer.lr: 0.02",
        "pipeline.models.unet",
        "torch 2.",
        "1 of ",
        "results/shards/d/train-0.h5 (current)",
    ):
        assert words in said, words
    assert "pipeline.models.unet_crop" not in said
    shard = next((finished.folder / "results/shards/d").glob("test-*.h5")).name
    assert "samples under raw/DRIVE current yes" in explain(f"shards/d/{shard}")


def test_a_setting_is_named_wherever_it_counts(explain, project):
    project.edit("lr: 0.02", "lr: 0.01")
    assert "current no: - optimizer.lr 0.02 here, 0.01 asked for" in explain("models/a/best.pt")
    assert "checkpoint: optimizer.lr 0.02 here, 0.01 asked for" in explain("predictions/a/test/probability/02.png")
    said = explain("metrics/a")
    assert "checkpoint: optimizer.lr 0.02 here, 0.01 asked for" in said
    assert "results/predictions/a/threshold.json (not current)" in said
    assert "not current itself: results/models/a/history.csv" in explain("models/a/curves.png")
    assert "not current itself: results/metrics/a/summary.csv" in explain("leaderboard.csv")
    for path in ("shards/d/train-0.h5", "models/b-2", "metrics/b-2", "predictions/d.second-observer/test/probability"):
        assert "current yes" in explain(path), path


def test_a_raw_picture_that_changed_and_one_that_came(explain, project):
    shards = sorted((project.folder / "results/shards/d").glob("train-*.h5"))
    with h5py.File(shards[0]) as file:
        name = file["ids"].asstr()[0]
    write_tif(project.folder / f"raw/DRIVE/training/images/{name}_training.tif", blobs(99)[1], photometric="rgb")
    assert f"current no: - raw files changed since: {name}" in explain(f"shards/d/{shards[0].name}")
    assert "current yes" in explain(f"shards/d/{shards[1].name}")
    add_drive(project.folder / "raw/DRIVE", "training", 40)
    said = " ".join(explain(f"shards/d/{path.name}") for path in (project.folder / "results/shards/d").glob("*.h5"))
    assert "samples that stand in it by now: 40" in said


def test_a_training_is_older_than_the_data_it_would_see_now(explain, project):
    folder = project.folder / "raw/DRIVE/training/images"
    for path in folder.iterdir():
        write_tif(path, blobs(int(path.name[:2]) + 50)[1], photometric="rgb")
    project.snakemake("shards")
    said = explain("models/a")
    assert "trained on other raw files than are now in: results/shards/d/train-0.h5" in said
    assert "written later: results/shards/d/train-0.h5" in said
    assert "not current itself: results/models/a/best.pt" in explain("predictions/a/test/probability")


def test_what_is_gone_or_has_no_fingerprint(explain, project):
    (project.folder / "results/predictions/a/test/probability/fingerprint.json").unlink()
    assert "current no: - it does not say what made it" in explain("predictions/a/test/probability/01.png")
    shutil.rmtree(project.folder / "results/predictions/a/test/probability")
    assert "missing: results/predictions/a/test/probability" in explain("metrics/a")
    (project.folder / "results/metrics/b-2/fingerprint.json").write_text("{")
    assert "its fingerprint is damaged" in explain("metrics/b-2")


def test_results_of_what_is_not_configured_any_more(explain, project):
    data = yaml.safe_load(project.config.read_text())
    del data["datasets"]["t"], data["experiments"]["b-2"]
    project.config.write_text(yaml.safe_dump(data))
    said = explain("models/b-2")
    assert "current no: - no experiment 'b-2' is configured" in said
    assert "optimizer.lr: 0.01" in said
    assert "no data set 't' is configured" in explain("shards/t/train-0.h5")
    assert "no experiment 'b-2' is configured" in explain("predictions/b-2/test/overlay")


def test_edited_code_is_named(project, tmp_path):
    copy = tmp_path / "code"
    shutil.copytree(ROOT / "pipeline", copy / "pipeline")
    path = copy / "pipeline/models/unet.py"

    def said(result):
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", "explain", result],
            cwd=project.folder, env={**os.environ, "PYTHONPATH": str(copy)}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return " ".join(done.stdout.split())

    path.write_text("# a remark\n" + path.read_text())
    assert "current yes" in said("results/models/a")
    path.write_text(path.read_text() + "\nNEW = 1\n")
    assert "current no: - code of pipeline.models.unet differs" in said("results/models/a")
    assert "current yes" in said("results/models/b-2")
