"""Commands reject inputs made by other settings or code, and report the differences and a remedy."""

import json
import os
import shutil
from pathlib import Path

import pytest
from rawfiles import make_tgs

from pipeline.cli import main as cli
from pipeline.cli.job import Job
from pipeline.config.config import load
from pipeline.core import code, digests
from pipeline.core.manifest import Manifest, manifest_path
from pipeline.graph import plan
from pipeline.graph.artifacts import Checkpoint
from pipeline.graph.base import plan_of
from pipeline.graph.study import Study

CONFIG = """
datasets:
  t: {layout: tgs, root: TGS, size: [48, 48], shards: 2, test: {rule: permutation, fraction: 0.25, seed: 42}}
experiments:
  e: {dataset: t, model: {name: unet, width: 4, depth: 2}, loss: bce, optimizer: {name: adam, lr: 0.02},
    batch_size: 4, epochs: 1, threads: 1}
"""
CHECKPOINT = "results/models/e/best.pt"
PREDICTIONS = "results/predictions/e"
COMMANDS = {
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
        assert cli.main(COMMANDS["train"].split()) == 0
        for split in ("validation", "test", "unlabelled"):
            assert cli.main(f"predict --experiment e --split {split}".split()) == 0
        assert cli.main(COMMANDS["threshold"].split()) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def project(made, tmp_path, monkeypatch):
    """A folder with all results up to the threshold; call the fixture to change the configuration."""
    folder = shutil.copytree(made, tmp_path / "project")
    monkeypatch.chdir(folder)

    def edit(old, new):
        assert old in CONFIG
        (folder / "config.yaml").write_text(CONFIG.replace(old, new))

    return edit


def times():
    """Return the modification time of each result."""
    paths = [path for path in Path("results").rglob("*") if "cache" not in path.parts and path != Path("results")]
    return {path: path.stat().st_mtime_ns for path in paths}


@pytest.mark.parametrize("verb", COMMANDS)
def test_inputs_of_the_current_settings_are_accepted(project, verb):
    assert cli.main(COMMANDS[verb].split()) == 0


@pytest.mark.parametrize("verb", COMMANDS)
def test_inputs_of_another_size_are_rejected_by_all_stages(project, verb, capsys):
    project("size: [48, 48]", "size: [32, 48]")
    before = times()
    assert cli.main(COMMANDS[verb].split()) == 1
    output = capsys.readouterr().err
    assert "a result of other settings, code, raw files or inputs" in output
    assert "rm -r results/" in output
    assert cli.main(["explain", "results/shards/t/train-0.h5"]) == 0
    assert "size is [48, 48], expected [32, 48]" in capsys.readouterr().out
    assert times() == before
    shards = sum(
        path.name.startswith(("train", "validation")) and path.suffix == ".h5"
        for path in Path("results/shards/t").iterdir()
    )
    assert shards > 2
    assert verb != "train" or f"({shards} problems)" in output


@pytest.mark.parametrize(
    ("old", "new", "refusing"),
    [
        ("lr: 0.02", "lr: 0.01", {"predict", "render", "evaluate"}),
        ("epochs: 1", "epochs: 1, threshold: 0.4", {"render", "evaluate"}),
        ("epochs: 1", "epochs: 1, test_time: flips", {"render", "evaluate"}),
        ("name: unet, width: 4", "name: unet, width: 6", {"predict", "evaluate"}),
    ],
)
def test_each_stage_checks_its_inputs(project, capsys, old, new, refusing):
    project(old, new)
    for verb in sorted(refusing):
        assert cli.main(COMMANDS[verb].split()) == 1, verb
        assert "a result of other settings, code, raw files or inputs" in capsys.readouterr().err
    if "predict" not in refusing:
        assert cli.main(COMMANDS["predict"].split()) == 0


@pytest.mark.parametrize(
    ("old", "new", "verb"),
    [
        ("epochs: 1", "epochs: 1, empty_masks: skip", "evaluate"),
        ("batch_size: 4", "batch_size: 2", "augmented"),
        ("batch_size: 4", "batch_size: 2", "train"),
    ],
)
def test_unrelated_settings_do_not_matter(project, old, new, verb):
    project(old, new)
    assert cli.main(COMMANDS[verb].split()) == 0


def test_inputs_of_other_libraries_are_rejected(project, monkeypatch, capsys):
    monkeypatch.setattr(code, "_version", lambda name: "9.9")
    plan.stage_code.cache_clear()
    try:
        for verb in ("train", "predict"):
            assert cli.main(COMMANDS[verb].split()) == 1
            assert "a result of other settings, code, raw files or inputs" in capsys.readouterr().err
        assert cli.main(["explain", "results/shards/t/train-0.h5"]) == 0
        assert ", expected 9.9" in capsys.readouterr().out
    finally:
        plan.stage_code.cache_clear()


CONSUMED = (
    ("train", ["results/shards/t/train-0.h5"]),
    ("predict", [CHECKPOINT]),
    ("evaluate", [f"{PREDICTIONS}/test/probability", f"{PREDICTIONS}/threshold.json"]),
)


@pytest.mark.parametrize("text", [None, "", "{", "[]", "3", '{"format": 1, "identity": "x"}', '{"format": 0}'])
def test_inputs_without_a_manifest_are_rejected(project, capsys, text):
    for verb, names in CONSUMED:
        for name in names:
            manifest = manifest_path(Path(name))
            manifest.unlink() if text is None else manifest.write_text(text)
        assert cli.main(COMMANDS[verb].split()) == 1
        output = capsys.readouterr().err
        assert all(f"{name}\n    found:    no manifest" in output for name in names)
        assert f"({len(names)} problem" in output


def test_edited_manifest_is_rejected(project, capsys):
    manifest = manifest_path(Path(CHECKPOINT))
    text = manifest.read_text()
    assert '"lr": 0.02' in text
    manifest.write_text(text.replace('"lr": 0.02', '"lr": 0.01'))
    assert cli.main(COMMANDS["predict"].split()) == 1
    assert "no manifest" in capsys.readouterr().err


def test_edited_inputs_are_rejected(project, capsys):
    times = {}
    for path in (
        Path(CHECKPOINT),
        *Path(PREDICTIONS, "test/probability").glob("*.png"),
        Path(PREDICTIONS, "threshold.json"),
    ):
        times[path] = path.stat()
    Path(CHECKPOINT).write_bytes(Path(CHECKPOINT).read_bytes() + b" ")
    one, other = sorted(Path(PREDICTIONS, "test/probability").glob("*.png"))[:2]
    one.rename(other)
    text = Path(PREDICTIONS, "threshold.json").read_text()
    Path(PREDICTIONS, "threshold.json").write_text(text.replace('"metric"', ' "metric"'))
    for path, state in times.items():
        if path.exists():
            os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    for verb, names in CONSUMED[1:]:
        assert cli.main(COMMANDS[verb].split()) == 1
        output = capsys.readouterr().err
        assert all(f"{name}\n    found:    edited after the pipeline wrote it" in output for name in names)


def test_mask_changed_during_a_job_leaves_no_scores(project, monkeypatch, capsys):
    monkeypatch.setattr(digests, "_MIN_AGE", 0)
    mask = next(path for path in sorted(Path("TGS/train/masks").glob("*.png")) if "tile001" in path.name)
    other = next(path for path in sorted(Path("TGS/train/masks").glob("*.png")) if "tile002" in path.name)
    before = mask.read_bytes()
    require = Job.require_origin

    def changed_meanwhile(job):
        require(job)
        for path in Path("TGS/train/masks").glob("*.png"):
            path.write_bytes(other.read_bytes())

    monkeypatch.setattr(Job, "require_origin", changed_meanwhile)
    assert cli.main(COMMANDS["evaluate"].split()) == 1
    output = capsys.readouterr().err
    assert "a file that changed after the job was planned" in output
    assert "run snakemake again" in output
    assert not list(Path("results/metrics/e").glob("*.manifest.json"))
    assert before != other.read_bytes()


def test_inputs_named_on_the_command_line_are_not_checked(project):
    project("lr: 0.02", "lr: 0.01")
    named = ["--shards", *map(str, sorted(Path("results/shards/t").glob("test-*.h5")))]
    assert cli.main([*COMMANDS["predict"].split(), "--checkpoint", CHECKPOINT, *named, "--output", "mine"]) == 0
    assert cli.main([*COMMANDS["evaluate"].split(), "--test-predictions", "mine", "--threshold", "0.5"]) == 0
    words = ["predict", "--checkpoint", CHECKPOINT, "--input", "TGS/test/images", "--output", "new"]
    assert cli.main(words) == 0
    # the manifest of the result contains the identity of the given file
    made_from = Manifest.read(Path("mine")).fingerprint.made_from
    assert made_from["checkpoint"] == [Manifest.read(Path(CHECKPOINT)).identity]
    assert len(made_from["shards"]) == 2
    Path("other.pt").write_bytes(Path(CHECKPOINT).read_bytes())
    words = [*COMMANDS["predict"].split(), "--checkpoint", "other.pt", *named, "--output", "mine"]
    assert cli.main(words) == 0
    assert Manifest.read(Path("mine")).fingerprint.made_from["checkpoint"] == ["not known"]


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '"x"', "{}", '{"stage": "nope", "recipe": {}}', '{"stage": "train"}',
     '{"stage": "train", "recipe": {}}',
     '{"stage": "predict", "recipe": {"dataset": "t", "split": "test", "kind": "probability"}}'],
)  # fmt: skip
def test_invalid_plans_are_usage_errors(project, text, capsys):
    assert cli.main([*COMMANDS["train"].split(), "--plan", text]) == 2
    output = capsys.readouterr().err
    assert "--plan" in output
    assert "use --config FILE instead" in output


@pytest.mark.parametrize("key", ["result", "raw", "made_from"])
def test_plans_are_validated_strictly(project, capsys, key):
    plain = json.loads(plan_of(Checkpoint("e"), Study(load([Path("config.yaml")]))).to_json())
    for wrong in (5, [1], {"train_shards": {"stage": "shard"}}):
        assert cli.main([*COMMANDS["train"].split(), "--plan", json.dumps({**plain, key: wrong})]) == 2
        assert "--plan" in capsys.readouterr().err


def test_prediction_of_new_images_rejects_plans(project, capsys):
    assert cli.main(["predict", "--checkpoint", CHECKPOINT, "--input", "TGS", "--output", "o", "--plan", "{}"]) == 2
    assert "--plan" in capsys.readouterr().err


def test_shard_bytes_do_not_depend_on_the_folder(made, tmp_path, monkeypatch):
    make_tgs(tmp_path / "TGS")
    (tmp_path / "config.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["shard", "--dataset", "t", "--split", "test", "--number", "0"]) == 0
    contents = Path("results/shards/t/test-0.h5").read_bytes()
    assert contents == (made / "results/shards/t/test-0.h5").read_bytes()
    assert str(tmp_path).encode() not in contents
    manifest = manifest_path(Path("results/shards/t/test-0.h5")).read_text()
    assert manifest == manifest_path(made / "results/shards/t/test-0.h5").read_text()
    assert str(made).encode() not in (made / CHECKPOINT).read_bytes()
