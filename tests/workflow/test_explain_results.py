"""`explain` on the results of a real workflow, before and after changes."""

import json
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
from pipeline.core.digests import file_digest, file_state

RESULTS = [
    ("shards/d/train-0.h5", "shard"),
    ("splits/d.csv", "splits"),
    ("models/a", "train"),
    ("models/a/best.pt", "train"),
    ("models/a/last.pt", "train"),
    ("models/a/history.csv", "train"),
    ("models/a/curves.png", "curves"),
    ("models/a/augmented.png", "augmented"),
    ("predictions/a/threshold.json", "threshold"),
    ("predictions/b-2/threshold.json", "threshold"),
    ("predictions/a/test/probability", "predict"),
    ("predictions/a/test/probability/01.png", "predict"),
    ("predictions/a/validation/mask", "render"),
    ("predictions/a/test/overlay/01.png", "render"),
    ("predictions/a/test/sheet.png", "render"),
    ("predictions/b-2/unlabelled/submission", "submission"),
    ("predictions/d.second-observer/test/probability/01.png", "baseline"),
    ("metrics/a", "evaluate"),
    ("metrics/a/summary.csv", "evaluate"),
    ("metrics/d.second-observer/summary.csv", "evaluate"),
    ("metrics/a/intervals.csv", "evaluate"),
    ("comparisons.csv", "comparisons"),
    ("leaderboard.csv", "leaderboard"),
    ("report.html", "report"),
]


@pytest.fixture
def explain(project, monkeypatch, capsys):
    monkeypatch.chdir(project.folder)

    def output(path, *words):
        assert cli.main(["explain", *words, f"results/{path}"]) == 0, capsys.readouterr().err
        return " ".join(capsys.readouterr().out.split())

    return output


def test_all_results_of_a_finished_workflow_are_current(explain, finished):
    for path, stage in RESULTS:
        for words in ([], ["--thorough"]):
            output = explain(path, *words)
            assert output.startswith(f"results/{path} what "), output
            assert f"made by stage {stage} (pipeline." in output
            assert " current yes: the current configuration, code and raw files would make the same" in output, output
            assert ("bytes of results and raw files" in output) == bool(words)
            assert ("`--thorough` reads the bytes of all files" in output) != bool(words)
    output = explain("models/a/best.pt")
    for words in (
        "optimizer.lr: 0.02",
        "pipeline.models.unet",
        "torch 2.",
        "1 of ",
        "results/shards/d/train-0.h5 (current)",
    ):
        assert words in output, words
    assert "pipeline.models.unet_crop" not in output
    shard = next((finished.folder / "results/shards/d").glob("test-*.h5")).name
    assert "samples under raw/DRIVE compared settings, code" in explain(f"shards/d/{shard}")


def test_changed_setting_is_named_and_outdates_dependents(explain, project):
    project.edit("lr: 0.02", "lr: 0.01")
    assert "current no: - optimizer.lr is 0.02, expected 0.01" in explain("models/a/best.pt")
    output = explain("predictions/a/test/probability/02.png")
    assert "current no: - made from a different checkpoint - out of date: results/models/a/best.pt" in output
    output = explain("metrics/a")
    assert (
        "made from different test predictions and a different threshold and different validation predictions" in output
    )
    assert "results/predictions/a/threshold.json (out of date)" in output
    assert "out of date: results/models/a/history.csv" in explain("models/a/curves.png")
    assert "out of date: results/metrics/a/summary.csv" in explain("leaderboard.csv")
    assert "out of date: " in explain("report.html")
    for path in ("shards/d/train-0.h5", "models/b-2", "metrics/b-2", "predictions/d.second-observer/test/probability"):
        assert "current yes" in explain(path), path


def test_changed_and_added_raw_images_are_named(explain, project):
    shards = sorted((project.folder / "results/shards/d").glob("train-*.h5"))
    with h5py.File(shards[0]) as file:
        name = file["ids"].asstr()[0]
    path = project.folder / f"raw/DRIVE/training/images/{name}_training.tif"
    before = path.stat()
    write_tif(path, blobs(99)[1], photometric="rgb")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert f"current no: - raw files changed - samples with changed raw files: {name}" in explain(
        f"shards/d/{shards[0].name}"
    )
    assert "current yes" in explain(f"shards/d/{shards[1].name}")
    assert f"out of date: results/shards/d/{shards[0].name}" in explain("models/a/best.pt")
    assert "current no" in explain("metrics/a/summary.csv")
    add_drive(project.folder / "raw/DRIVE", "training", 40)
    output = " ".join(explain(f"shards/d/{path.name}") for path in (project.folder / "results/shards/d").glob("*.h5"))
    assert "samples added: 40" in output


def test_edits_are_found_in_tables_or_with_thorough(explain, project):
    image = project.folder / "results/predictions/a/test/probability/01.png"
    image.write_bytes(image.with_name("02.png").read_bytes())
    assert "current yes" in explain("metrics/a")
    edited = "edited after the pipeline wrote it"
    assert edited in explain("predictions/a/test/probability", "--thorough")
    assert "out of date: results/predictions/a/test/probability" in explain("metrics/a", "--thorough")
    table = project.folder / "results/metrics/b-2/summary.csv"
    table.write_text(table.read_text() + "\n")
    assert "a file of the same job was edited afterwards: results/metrics/b-2/summary.csv" in explain("metrics/b-2")
    assert "out of date: results/metrics/b-2/summary.csv" in explain("leaderboard.csv")


def test_thorough_ignores_cached_digests(explain, project):
    """Contents that changed without a change of time and inode are only found by reading."""
    shard = next(path.name for path in (project.folder / "results/shards/d").glob("test-*.h5") if _has(path, "01"))
    path = "raw/DRIVE/test/images/01_test.tif"
    digest = file_digest(project.folder / path)
    write_tif(project.folder / path, blobs(98)[1], photometric="rgb")
    kept = {"format": 1, "files": {path: [*file_state(project.folder / path), digest]}}
    (project.folder / "results/cache").mkdir(exist_ok=True)
    (project.folder / "results/cache/digests-d.json").write_text(json.dumps(kept))
    assert "current yes" in explain(f"shards/d/{shard}")
    assert "samples with changed raw files: 01" in explain(f"shards/d/{shard}", "--thorough")


def _has(shard, name):
    with h5py.File(shard) as file:
        return name in file["ids"].asstr()[:]


def test_missing_results_and_manifests_are_named(explain, project):
    (project.folder / "results/predictions/a/test/probability.manifest.json").unlink()
    assert "current no: - its manifest results/predictions/a/test/probability.manifest.json is missing" in explain(
        "predictions/a/test/probability/01.png"
    )
    shutil.rmtree(project.folder / "results/predictions/a/test/probability")
    assert "missing: results/predictions/a/test/probability" in explain("metrics/a")
    (project.folder / "results/metrics/b-2/per_image.csv.manifest.json").write_text("{")
    assert "its manifest results/metrics/b-2/per_image.csv.manifest.json is damaged" in explain("metrics/b-2")


def test_results_that_are_no_longer_configured(explain, project):
    data = yaml.safe_load(project.config.read_text())
    del data["datasets"]["t"], data["experiments"]["b-2"]
    project.config.write_text(yaml.safe_dump(data))
    output = explain("models/b-2")
    assert "current no: - no experiment 'b-2' is configured" in output
    assert "optimizer.lr: 0.01" in output
    assert "no data set 't' is configured" in explain("shards/t/train-0.h5")
    assert "no experiment 'b-2' is configured" in explain("predictions/b-2/test/overlay")


def test_edited_code_is_named(project, tmp_path):
    copy = tmp_path / "code"
    shutil.copytree(ROOT / "pipeline", copy / "pipeline")
    path = copy / "pipeline/models/unet.py"

    def output(result):
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", "explain", result],
            cwd=project.folder, env={**os.environ, "PYTHONPATH": str(copy)}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return " ".join(done.stdout.split())

    path.write_text("# a remark\n" + path.read_text())
    assert "current yes" in output("results/models/a")
    path.write_text(path.read_text() + "\nNEW = 1\n")
    assert "current no: - code of pipeline.models.unet differs" in output("results/models/a")
    assert "current yes" in output("results/models/b-2")
