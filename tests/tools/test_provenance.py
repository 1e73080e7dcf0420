"""What stands beside the weights about how they came to be."""

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
      batch_size: 2, epochs: 1, threads: 1, seed: 7}
"""


def git(folder, *words):
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "a checkout"
    folder.mkdir()
    (folder / "config.yaml").write_text("one")
    git(folder, "init", "--quiet")
    git(folder, "add", "config.yaml")
    return folder


def test_git_state_tells_commit_and_what_differs_from_it(checkout):
    assert provenance.git_state(checkout / "config.yaml") == {"commit": None, "dirty": True, "changed": ["config.yaml"]}
    git(checkout, "commit", "--quiet", "--message", "first")
    clean = provenance.git_state(checkout / "config.yaml")
    assert len(clean["commit"]) == 40
    assert (clean["dirty"], clean["changed"]) == (False, [])
    (checkout / "config.yaml").write_text("two")
    (checkout / "é new.txt").write_text("")
    dirty = provenance.git_state(checkout / "config.yaml")
    assert dirty == {"commit": clean["commit"], "dirty": True, "changed": ["config.yaml", "é new.txt"]}


def test_what_git_does_not_track_has_no_commit(checkout, tmp_path, monkeypatch):
    (checkout / "installed.py").write_text("")  # as a package inside an environment inside a checkout
    assert provenance.git_state(checkout / "installed.py") is None
    assert provenance.git_state(checkout / "nothing.py") is None
    (tmp_path / "loose.py").write_text("")
    assert provenance.git_state(tmp_path / "loose.py") is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.git_state(checkout / "config.yaml") is None


def test_a_training_writes_what_it_was_made_by_and_times_stand_nowhere_else(tmp_path, drive, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(CONFIG)
    for split in ("train", "validation"):
        assert cli.main(["shard", "--dataset", "d", "--split", split, "--number", "0"]) == 0
    command = ["train", "--experiment", "e"]
    assert cli.main(command) == 0
    folder = tmp_path / "results/models/e"
    said = provenance.read_provenance(folder / "provenance.json")
    assert said["command"] == ["python", "-m", "pipeline", *command]
    assert said["experiment"] == "e"
    assert said["seeds"]["seed"] == 7
    assert len({said["seeds"][purpose] for purpose in ("weights", "order", "augmentation")}) == 3
    made = Manifest.read(folder / "best.pt")
    assert said["fingerprint"] == made.identity
    assert made.fingerprint.settings["seed"] == 7
    shard = Manifest.read(tmp_path / "results/shards/d/train-0.h5")
    assert shard.fingerprint.stage == "shard"
    assert made.fingerprint.made_from["train_shards"] == [shard.identity]
    assert said["packages"]["torch"] == metadata.version("torch")
    assert said["packages"]["h5py"] == metadata.version("h5py")
    assert said["hardware"]["threads"] == 1
    assert said["hardware"]["memory_bytes"] > 2**28
    assert 1 <= said["hardware"]["usable_cores"] <= said["hardware"]["logical_cores"]
    assert len(said["hardware"]["gpus"]) == torch.cuda.device_count()
    assert said["hardware"]["cpu"]
    started, finished = (datetime.fromisoformat(said[key]) for key in ("started", "finished"))
    assert started <= finished
    assert started.tzinfo is not None
    assert set(said["inputs"]) == {f"results/shards/d/{split}-0.h5" for split in ("train", "validation")}
    assert all(len(digest) == 64 for digest in said["inputs"].values())
    assert said["code"]["working_folder"] is None

    same = {name: (folder / name).read_bytes() for name in ("best.pt", "last.pt", "history.csv")}
    assert cli.main(["train", "--experiment", "e"]) == 0
    assert {name: (folder / name).read_bytes() for name in same} == same
    assert not any(said["started"][:10].encode() in content for content in same.values())


def test_a_missing_shard_is_still_told_as_such(tmp_path, drive, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(CONFIG)
    words = ["train", "--experiment", "e", "--train-shards", "a.h5", "b.h5"]
    assert cli.main([*words, "--validation-shards"]) == 1
    said = capsys.readouterr().err
    assert "a.h5" in said
    assert "b.h5" in said
    assert "snakemake shards" in said


def test_something_else_is_refused(tmp_path):
    for text in ("", "[]", '{"format": 99}'):
        (tmp_path / "p.json").write_text(text)
        with pytest.raises(PipelineError, match=r"p\.json"):
            provenance.read_provenance(tmp_path / "p.json")
    with pytest.raises(PipelineError, match="No such file"):
        provenance.read_provenance(tmp_path / "gone.json")
