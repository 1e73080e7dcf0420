"""Which paths under results/ `explain` accepts, and when the raw files of a shard count as changed."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from pipeline.cli import main as cli
from pipeline.config.config import parse
from pipeline.core.errors import PipelineError
from pipeline.graph import explain
from pipeline.graph.recognize import recognize
from pipeline.graph.study import Study

EXPERIMENT = {"dataset": "d", "model": "unet", "loss": "bce", "optimizer": {"name": "sgd", "lr": 1}, "batch_size": 1,
              "epochs": 1}  # fmt: skip
OF_CLASSES = {**EXPERIMENT, "dataset": "s", "loss": "cross-entropy"}
STUDY = Study(
    parse(
        {
            "datasets": {
                "d": {"layout": "drive", "root": "raw", "size": "native"},
                "s": {"layout": "shapes", "root": "raw", "size": "native"},
            },
            "experiments": {
                "a": EXPERIMENT,
                "mean": {**EXPERIMENT, "folds": 2},
                "one": OF_CLASSES,
                "many": {**OF_CLASSES, "seeds": [1, 2], "keep_probability": True},
            },
        }
    )
)


def place(path):
    return recognize(STUDY, Path("results") / path)


@pytest.mark.parametrize(
    ("path", "stage", "known_by"),
    [
        ("shards/d/validation-12.h5", "shard", "shards/d/validation-12.h5"),
        ("check/d.html", "check", "check/d.json"),
        ("models/a", "train", "models/a/best.pt"),
        ("models/a/last.pt", "train", "models/a/best.pt"),
        ("models/a/provenance.json", "train", "models/a/best.pt"),
        ("predictions/a/test/mask/x/y.png", "render", "predictions/a/test/mask"),
        ("predictions/a/test/sheet.png", "render", "predictions/a/test/mask"),
        ("predictions/one/test/mask/01.png", "predict", "predictions/one/test/mask"),
        ("predictions/one/test/probability/cat/01.png", "predict", "predictions/one/test/probability"),
        ("predictions/one/test/colour", "render_classes", "predictions/one/test/colour"),
        ("predictions/one/test/legend.png", "render_classes", "predictions/one/test/colour"),
        (
            "predictions/d.second-observer/test/probability",
            "baseline",
            "predictions/d.second-observer/test/probability",
        ),
        ("folds/d/12.json", "folds", "folds/d/12.json"),
        ("predictions/mean.ensemble/test/mask", "render", "predictions/mean.ensemble/test/mask"),
        (
            "predictions/mean.ensemble/out-of-fold/probability/01.png",
            "ensemble",
            "predictions/mean.ensemble/out-of-fold/probability",
        ),
        ("predictions/many.ensemble/test/mask", "ensemble", "predictions/many.ensemble/test/mask"),
        ("metrics/mean.ensemble/summary.csv", "evaluate", "metrics/mean.ensemble/per_image.csv"),
        ("metrics/one/confusion.csv", "evaluate_classes", "metrics/one/per_image.csv"),
        ("metrics/one/per_image.csv.manifest.json", "evaluate_classes", "metrics/one/per_image.csv"),
        ("metrics/mean/summary.csv", "average", "metrics/mean/summary.csv"),
        ("predictions/a/test", "render", "predictions/a/test/mask"),
    ],
)
def test_paths_of_results_are_recognized(path, stage, known_by):
    found = place(path)
    assert (found.stage.name, found.path) == (stage, Path("results") / known_by)
    assert found.name in found.description


@pytest.mark.parametrize(
    "path",
    ["shards/d", "shards/d/train-01.h5", "shards/d/all-0.h5", "logs/train/a.log", "models", "models/a/b/c",
     "cache/x.json",
     "folds/d", "folds/d/03.json", "predictions/a/out-of-fold/x",
     "predictions/a/tset/mask", "predictions/a/test/colours",
     "notes.txt", "models/a/notes.txt"],
)  # fmt: skip
def test_other_paths_are_rejected(path):
    with pytest.raises(PipelineError, match=r"leaderboard\.csv") as caught:
        place(path)
    assert caught.value.problems[0].where == f"results/{path}"


def test_explain_rejects_foreign_and_missing_paths(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text("datasets: {d: {layout: tgs, root: raw, size: [32, 32]}}")
    for path in ("config.yaml", "/etc/passwd", "results", "results/../config.yaml", "results/../../x"):
        assert cli.main(["explain", path]) == 1, path
        assert "a file or folder below results/" in capsys.readouterr().err
    assert cli.main(["explain", "results/leaderboard.csv"]) == 1
    output = capsys.readouterr().err
    assert "no such file" in output
    assert "run `snakemake results/leaderboard.csv`" in output
    assert cli.main(["explain", "results/logs/x.log"]) == 1
    assert "correct the path" in capsys.readouterr().err
    (tmp_path / "results/shards/d").mkdir(parents=True)
    (tmp_path / "results/shards/d/train-0.h5").write_text("no shard")
    assert cli.main(["explain", str(tmp_path / "results/shards/d/train-0.h5")]) == 1
    assert "a file that starts with" in capsys.readouterr().err


def test_settings_are_flattened():
    assert explain.flat({"b": {"y": [1, 2], "x": None, "w": {}}, "a": "text"}) == ["a: text", "b.y: [1, 2]"]


def test_changed_stack_outdates_shard(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0)
    for kind, top in (("images", 255), ("masks", 1)):
        (tmp_path / "raw" / kind).mkdir(parents=True)
        pages = noise.integers(0, top + 1, (3, 40, 40), np.uint8)
        tifffile.imwrite(tmp_path / "raw" / kind / "s.tif", pages, photometric="minisblack")
    (tmp_path / "config.yaml").write_text(
        "datasets: {d: {layout: folder, root: raw, pages: samples, labels: {0: background, 1: thing}, "
        "size: [32, 32], channels: grey, test: {rule: fraction, fraction: 0.34, seed: 0}, validation: {fraction: 0}}}"
    )
    assert cli.main(["shard", "--dataset", "d", "--split", "train", "--number", "0"]) == 0
    shard = "results/shards/d/train-0.h5"
    assert cli.main(["explain", shard]) == 0
    assert "current     yes" in capsys.readouterr().out
    pages = noise.integers(0, 255, (3, 40, 40), np.uint8)
    tifffile.imwrite(tmp_path / "raw/images/s.tif", pages, photometric="minisblack")
    assert cli.main(["explain", shard]) == 0
    assert "- raw files changed" in capsys.readouterr().out
    (tmp_path / "raw/images/s.tif").unlink()
    assert cli.main(["explain", shard]) == 0
    assert "its inputs cannot be determined" in capsys.readouterr().out
