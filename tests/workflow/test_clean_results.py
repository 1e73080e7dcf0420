"""Cleaning the results of a real workflow, and the provenance of a real training."""

import json
import subprocess
import sys

import yaml
from projects import ROOT


def clean(project, *words):
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "clean", *words],
        cwd=project.folder, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def raw_files(project):
    return {path: path.read_bytes() for path in (project.folder / "raw").rglob("*") if path.is_file()}


def test_clean_removes_nothing_of_a_finished_workflow(project):
    assert "holds nothing that is not needed" in clean(project, "--yes")
    assert project.planned() == {}


def test_clean_removes_only_unconfigured_results(project):
    before, raw = project.files(), raw_files(project)
    data = yaml.safe_load(project.config.read_text())
    both = project.config.read_text()
    del data["datasets"]["t"], data["experiments"]["b-2"]
    project.config.write_text(yaml.safe_dump(data))
    planned = project.planned()
    assert "results/models/b-2" in clean(project)
    assert project.files() - {"results/cache/digests-d.json"} == before - {"results/cache/digests-d.json"}
    clean(project, "--yes")
    gone = before - project.files()
    assert {name.split("/")[2].split(".")[0] for name in gone if name.count("/") == 2} - {"digests-t"} == {"t"}
    assert {"results/models/b-2/best.pt", "results/shards/t/train-0.h5", "results/splits/t.csv"} <= gone
    assert not [name for name in project.files() if "b-2" in name or "/t/" in name]
    assert project.planned() == planned == {"comparisons": 1, "leaderboard": 1, "report": 1}
    assert raw_files(project) == raw
    project.config.write_text(both)
    assert project.planned()["train"] == 1


def test_clean_removes_superseded_shards(project):
    project.edit("shards: 3", "shards: 1")
    project.snakemake("shards")
    output = clean(project, "--yes")
    assert "results/shards/d/test-1.h5  (it has no samples)" in output
    shards = [f"{split}-0.h5" for split in ("train", "validation", "test")]
    names = {path.name for path in (project.folder / "results/shards/d").iterdir()}
    assert names == {*shards, *(f"{name}.manifest.json" for name in shards)}
    assert project.planned("shards") == {}


def test_provenance_of_every_training(finished):
    for name, threads in (("a", 1), ("b-2", 1)):
        output = json.loads((finished.folder / f"results/models/{name}/provenance.json").read_text())
        assert output["command"][3:6] == ["train", "--experiment", name]
        assert output["hardware"]["threads"] == threads
        assert output["code"]["pipeline"] is None or len(output["code"]["pipeline"]["commit"]) == 40
        assert all((finished.folder / path).is_file() for path in output["inputs"])
