"""The provenance of weights."""

import subprocess
from datetime import datetime
from importlib import metadata

import pytest
import torch

from pipeline.cli import main as cli
from pipeline.core.errors import PipelineError
from pipeline.core.manifest import Manifest
from pipeline.tools import provenance

CONFIG = """
datasets: {d: {layout: drive, root: DRIVE, size: [48, 48], validation: {fraction: 0.34}}}
experiments:
  e: {dataset: d, model: {name: unet, width: 4, depth: 2}, loss: bce, optimizer: {name: adam, lr: 0.02},
      batch_size: 2, epochs: 1, threads: 1, seed: 7, precision: fp32}
"""


def git(folder, *arguments):
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "a checkout"
    folder.mkdir()
    (folder / "config.yaml").write_text("one")
    git(folder, "init", "--quiet")
    git(folder, "add", "config.yaml")
    return folder


def test_git_state_has_the_commit_and_changed_paths(checkout):
    assert provenance.git_state(checkout / "config.yaml") == {"commit": None, "dirty": True, "changed": ["config.yaml"]}
    git(checkout, "commit", "--quiet", "--message", "first")
    clean = provenance.git_state(checkout / "config.yaml")
    assert len(clean["commit"]) == 40
    assert (clean["dirty"], clean["changed"]) == (False, [])
    (checkout / "config.yaml").write_text("two")
    (checkout / "é new.txt").write_text("")
    dirty = provenance.git_state(checkout / "config.yaml")
    assert dirty == {"commit": clean["commit"], "dirty": True, "changed": ["config.yaml", "é new.txt"]}


def test_untracked_files_have_no_git_state(checkout, tmp_path, monkeypatch):
    (checkout / "installed.py").write_text("")  # like a package in an environment in a checkout
    assert provenance.git_state(checkout / "installed.py") is None
    assert provenance.git_state(checkout / "nothing.py") is None
    (tmp_path / "loose.py").write_text("")
    assert provenance.git_state(tmp_path / "loose.py") is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.git_state(checkout / "config.yaml") is None


def test_a_training_writes_its_provenance_and_no_other_times(tmp_path, drive, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(CONFIG)
    for split in ("train", "validation"):
        assert cli.main(["shard", "--dataset", "d", "--split", split, "--number", "0"]) == 0
    command = ["train", "--experiment", "e"]
    assert cli.main(command) == 0
    folder = tmp_path / "results/models/e"
    record = provenance.read_provenance(folder / "provenance.json")
    assert record["command"] == ["python", "-m", "pipeline", *command]
    assert record["experiment"] == "e"
    assert record["seeds"]["seed"] == 7
    assert len({record["seeds"][purpose] for purpose in ("weights", "order", "augmentation")}) == 3
    manifest = Manifest.read(folder / "best.pt")
    assert record["identity"] == manifest.identity
    assert manifest.fingerprint.settings["seed"] == 7
    shard = Manifest.read(tmp_path / "results/shards/d/train-0.h5")
    assert shard.fingerprint.stage == "shard"
    assert manifest.fingerprint.made_from["train_shards"] == [shard.identity]
    assert record["packages"]["torch"] == metadata.version("torch")
    assert record["packages"]["h5py"] == metadata.version("h5py")
    assert record["hardware"]["threads"] == 1
    assert record["hardware"]["memory_bytes"] > 2**28
    assert 1 <= record["hardware"]["usable_cores"] <= record["hardware"]["logical_cores"]
    assert len(record["hardware"]["gpus"]) == torch.cuda.device_count()
    assert record["hardware"]["cpu"]
    started, finished = (datetime.fromisoformat(record[key]) for key in ("started", "finished"))
    assert started <= finished
    assert started.tzinfo is not None
    assert set(record["inputs"]) == {f"results/shards/d/{split}-0.h5" for split in ("train", "validation")}
    assert all(len(digest) == 64 for digest in record["inputs"].values())
    assert record["code"]["working_folder"] is None

    contents = {name: (folder / name).read_bytes() for name in ("best.pt", "last.pt", "history.csv")}
    assert cli.main(["train", "--experiment", "e"]) == 0
    assert {name: (folder / name).read_bytes() for name in contents} == contents
    assert not any(record["started"][:10].encode() in content for content in contents.values())


def test_missing_shards_are_reported(tmp_path, drive, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(CONFIG)
    command = ["train", "--experiment", "e", "--train-shards", "a.h5", "b.h5"]
    assert cli.main([*command, "--validation-shards"]) == 1
    output = capsys.readouterr().err
    assert "a.h5" in output
    assert "b.h5" in output
    assert "snakemake shards" in output


def test_invalid_provenance_files_are_refused(tmp_path):
    for text in ("", "[]", '{"format": 99}'):
        (tmp_path / "p.json").write_text(text)
        with pytest.raises(PipelineError, match=r"p\.json"):
            provenance.read_provenance(tmp_path / "p.json")
    with pytest.raises(PipelineError, match="No such file"):
        provenance.read_provenance(tmp_path / "gone.json")
