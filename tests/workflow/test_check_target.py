"""The targets of the check, and excluded samples, in the real workflow."""

import shutil

import pandas as pd

TABLE = "results/splits/d.csv"


def test_leaderboard_uses_the_check(project):
    assert {f"results/check/{name}.{end}" for name in "dt" for end in ("json", "html", "png")} <= project.files()
    board = pd.read_csv(project.folder / "results/leaderboard.csv")
    assert (board["leak"] == 0).all()
    assert (board["excluded"] == 0).all()
    project.snakemake("check")
    assert "d: 0 errors, 0 warnings" in project.output


def test_leak_fails_the_target_and_keeps_the_reports(project):
    raw = project.folder / "raw/DRIVE"
    shutil.copyfile(raw / "training/images/21_training.tif", raw / "test/images/01_test.tif")
    assert project.snakemake("check_d", check=False) != 0
    assert "ERROR leak" in project.output
    assert "results/check/d.html" in project.files()
    assert project.snakemake("check_t") == 0
    assert "inspect" not in project.planned("shards")


def test_check_reports_unpaired_files(fresh):
    (fresh.folder / "raw/DRIVE/training/1st_manual/22_manual1.gif").unlink()
    assert fresh.snakemake("check", check=False) != 0
    assert "ERROR unpaired" in fresh.output
    assert {"results/check/d.json", "results/check/t.json"} <= fresh.files()
    assert not (fresh.folder / "results/shards").exists()


def test_excluded_sample_rebuilds_only_its_shard(project):
    table = pd.read_csv(project.folder / TABLE, dtype=str)
    name = table[table["split"] == "train"]["id"].iloc[0]
    project.edit("shards: 3, ", f'shards: 3, exclude: {{"{name}": blurred}}, ')
    planned = project.planned("shards")
    assert planned.get("shard", 0) <= 1  # none if the shard contains only this sample
    project.snakemake("shards", "metrics_a")
    row = pd.read_csv(project.folder / TABLE, dtype=str).set_index("id").loc[name]
    assert (row["split"], row["reason"]) == ("excluded", "blurred")
    summary = pd.read_csv(project.folder / "results/metrics/a/summary.csv")
    assert (summary["excluded"] == 1).all()


def test_excluding_unpaired_files_lets_the_workflow_run(fresh):
    (fresh.folder / "raw/DRIVE/training/1st_manual/22_manual1.gif").unlink()
    fresh.edit("shards: 3, ", 'shards: 3, exclude: {"22": the mask is lost}, ')
    fresh.snakemake("shards", "check")
    assert "22: the mask is lost" in fresh.output


def test_unused_file_is_reported_and_rebuilds_nothing(project):
    raw = project.folder / "raw/DRIVE"
    for name in ("training/images/Thumbs.db", ".DS_Store"):  # file managers create these
        (raw / name).write_bytes(b"x")
    assert project.planned() == {}
    (raw / "training/images/notes.txt").write_text("a note")
    (raw / "21_training.tif").write_bytes(b"in the wrong folder")
    assert project.planned("shards", "models", "metrics") == {}
    planned = project.planned()
    assert planned.pop("inspect") == 1
    assert planned == {"leaderboard": 1, "report": 1}
    project.snakemake("check")
    assert "21_training.tif" in project.output
    assert "training/images/notes.txt" in project.output
    assert "training/images/Thumbs.db" in project.output
    (raw / "21_training.tif").unlink()
    assert project.planned("check_d")["inspect"] == 1
