"""Consumers refuse what other settings or other code made, and say what differs and how to get it again."""

import json
import os
import shutil
from pathlib import Path

import h5py
import pytest
import torch
from rawfiles import make_tgs

from pipeline.cli import main as cli
from pipeline.config.config import load
from pipeline.core import code, fingerprint
from pipeline.graph import plan
from pipeline.graph.artifacts import Checkpoint
from pipeline.graph.base import plan_of
from pipeline.graph.study import Study

CONFIG = """
datasets:
  t: {layout: tgs, root: TGS, size: [48, 48], shards: 2, test: {method: permutation, fraction: 0.25, seed: 42}}
experiments:
  e: {dataset: t, model: {name: unet, width: 4, depth: 2}, loss: bce, optimizer: {name: adam, lr: 0.02},
    batch_size: 4, epochs: 1, threads: 1}
"""
CHECKPOINT = "results/models/e/best.pt"
PREDICTIONS = "results/predictions/e"
VERBS = {
    "train": "train --experiment e",
    "augmented": "augmented --experiment e",
    "predict": "predict --experiment e --split test",
    "threshold": "threshold --experiment e",
    "render": "render --experiment e --split test",
    "evaluate": "evaluate --experiment e",
    "submission": "submission --experiment e",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    make_tgs(folder / "TGS")
    (folder / "config.yaml").write_text(CONFIG)
    before = Path.cwd()
    os.chdir(folder)
    try:
        raw = Study(load([Path("config.yaml")])).raw("t")
        for split in raw.splits:
            for number in raw.shard_members(split):
                assert cli.main(f"shard --dataset t --split {split} --number {number}".split()) == 0
        assert cli.main(VERBS["train"].split()) == 0
        for split in ("validation", "test", "unlabelled"):
            assert cli.main(f"predict --experiment e --split {split}".split()) == 0
        assert cli.main(VERBS["threshold"].split()) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def project(made, tmp_path, monkeypatch):
    """A folder in which everything up to the threshold was made; call it to change the configuration."""
    folder = shutil.copytree(made, tmp_path / "project")
    monkeypatch.chdir(folder)

    def edit(old, new):
        assert old in CONFIG
        (folder / "config.yaml").write_text(CONFIG.replace(old, new))

    return edit


@pytest.mark.parametrize("verb", VERBS)
def test_what_was_made_by_the_same_is_taken(project, verb):
    assert cli.main(VERBS[verb].split()) == 0


@pytest.mark.parametrize("verb", VERBS)
def test_another_size_of_the_shards_is_refused_all_the_way_down(project, verb, capsys):
    project("size: [48, 48]", "size: [32, 48]")
    before = {path: path.stat().st_mtime_ns for path in Path("results").rglob("*")}
    assert cli.main(VERBS[verb].split()) == 1
    said = capsys.readouterr().err
    assert "size [48, 48] here, [32, 48] asked for" in said
    assert "rm -r results/" in said
    assert {path: path.stat().st_mtime_ns for path in Path("results").rglob("*")} == before
    shards = sum(path.name.startswith(("train", "validation")) for path in Path("results/shards/t").iterdir())
    assert shards > 2
    assert verb != "train" or f"({shards} problems)" in said


@pytest.mark.parametrize(
    ("old", "new", "difference", "refusing"),
    [
        ("lr: 0.02", "lr: 0.01", "optimizer.lr 0.02 here, 0.01 asked for", {"predict", "render", "evaluate"}),
        ("epochs: 1", "epochs: 1, threshold: 0.4", "fixed none here, 0.4 asked for", {"render", "evaluate"}),
        ("epochs: 1", "epochs: 1, test_time: flips", "test_time none here, flips asked for", {"render", "evaluate"}),
        ("name: unet, width: 4", "name: unet, width: 6", "model.width 4 here, 6 asked for", {"predict", "evaluate"}),
    ],
)
def test_each_consumer_is_asked_about_what_it_is_made_from(project, capsys, old, new, difference, refusing):
    project(old, new)
    for verb in sorted(refusing):
        assert cli.main(VERBS[verb].split()) == 1, verb
        assert difference in capsys.readouterr().err
    if "predict" not in refusing:
        assert cli.main(VERBS["predict"].split()) == 0


@pytest.mark.parametrize(
    ("old", "new", "verb"),
    [
        ("shards: 2", "shards: 2, exclude: {tile000: torn}", "predict"),
        ("epochs: 1", "epochs: 1, empty_masks: skip", "evaluate"),
        ("batch_size: 4", "batch_size: 2", "augmented"),
        ("batch_size: 4", "batch_size: 2", "train"),
    ],
)
def test_nothing_is_asked_about_what_does_not_concern_it(project, old, new, verb):
    project(old, new)
    assert cli.main(VERBS[verb].split()) == 0


def test_other_libraries_are_refused(project, monkeypatch, capsys):
    monkeypatch.setattr(code, "_version", lambda name: "9.9")
    plan.stage_code.cache_clear()
    try:
        assert cli.main(VERBS["train"].split()) == 1
        assert "h5py" in (said := capsys.readouterr().err)
        assert "here, 9.9 asked for" in said
        assert cli.main(VERBS["predict"].split()) == 1
        assert "torch" in capsys.readouterr().err
    finally:
        plan.stage_code.cache_clear()


def test_results_of_earlier_versions_are_refused(project, capsys):
    with h5py.File("results/shards/t/train-0.h5", "r+") as file:
        del file.attrs["fingerprint"]
    checkpoint = torch.load(CHECKPOINT, weights_only=True)
    torch.save({**checkpoint, "fingerprint": None}, CHECKPOINT)
    Path(PREDICTIONS, "test/probability", fingerprint.FILE).unlink()
    path = Path(PREDICTIONS, "threshold.json")
    path.write_text(
        json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != "fingerprint"})
    )
    for verb, names in (
        ("train", ["results/shards/t/train-0.h5"]),
        ("predict", [CHECKPOINT]),
        ("evaluate", [f"{PREDICTIONS}/test/probability", f"{PREDICTIONS}/threshold.json"]),
    ):
        assert cli.main(VERBS[verb].split()) == 1
        said = capsys.readouterr().err
        assert all(f"{name}\n    found:    no fingerprint" in said for name in names)
        assert f"({len(names)} problem" in said


def test_whoever_names_a_file_means_it(project):
    project("lr: 0.02", "lr: 0.01")
    named = ["--shards", *map(str, sorted(Path("results/shards/t").glob("test-*")))]
    assert cli.main([*VERBS["predict"].split(), "--checkpoint", CHECKPOINT, *named, "--output", "mine"]) == 0
    assert cli.main([*VERBS["evaluate"].split(), "--test-predictions", "mine", "--threshold", "0.5"]) == 0
    words = ["predict", "--checkpoint", CHECKPOINT, "--input", "TGS/test/images", "--output", "new"]
    assert cli.main(words) == 0
    # and what comes of it says that nobody knows what it was made from
    assert json.loads(Path("mine", fingerprint.FILE).read_text())["made_from"] == {}


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '"x"', "{}", '{"stage": "nope", "recipe": {}}', '{"stage": "train"}',
     '{"stage": "train", "recipe": {}}',
     '{"stage": "predict", "recipe": {"dataset": "t", "split": "test", "kind": "probability"}}'],
)  # fmt: skip
def test_plans_that_are_none_are_a_mistake_in_the_command(project, text, capsys):
    assert cli.main([*VERBS["train"].split(), "--plan", text]) == 2
    said = capsys.readouterr().err
    assert "--plan" in said
    assert "use --config FILE instead" in said


def test_a_plan_below_the_plan_is_read_as_strictly(project, capsys):
    said = json.loads(plan_of(Checkpoint("e"), Study(load([Path("config.yaml")]))).to_json())
    for wrong in (5, {"stage": "nope", "recipe": {}}, {"stage": "shard", "recipe": {"size": "huge"}}):
        said["made_from"]["train_shards"] = wrong
        assert cli.main([*VERBS["train"].split(), "--plan", json.dumps(said)]) == 2
        assert "--plan" in capsys.readouterr().err


def test_new_pictures_take_no_plans(project, capsys):
    assert cli.main(["predict", "--checkpoint", CHECKPOINT, "--input", "TGS", "--output", "o", "--plan", "{}"]) == 2
    assert "--plan" in capsys.readouterr().err


def test_the_same_shard_anywhere_and_no_place_in_it(made, tmp_path, monkeypatch):
    make_tgs(tmp_path / "TGS")
    (tmp_path / "config.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["shard", "--dataset", "t", "--split", "test", "--number", "0", "--timing", "t.tsv"]) == 0
    contents = Path("results/shards/t/test-0.h5").read_bytes()
    assert contents == (made / "results/shards/t/test-0.h5").read_bytes()
    assert str(tmp_path).encode() not in contents
    assert Path("t.tsv").read_text().startswith("s\tmax_rss\n")
    assert str(made).encode() not in (made / CHECKPOINT).read_bytes()
