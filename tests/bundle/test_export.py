"""`export` of an experiment of the configuration: its threshold, scores and test images."""

import json
import zipfile

import pytest
import torch
from rawfiles import make_drive

from pipeline.bundle.read import read_bundle
from pipeline.cli.main import main

CONFIG = """
datasets: {d: {layout: drive, root: DRIVE, size: native, validation: {fraction: 0.34}}}
experiments:
  e: {dataset: d, model: {name: unet-crop, widths: [2, 2], padding: mirror}, loss: bce, optimizer: {name: sgd, lr: 2},
    batch_size: 1, epochs: 1, monitor: val_dice, threads: 1, crop: [48, 48], tiles: {size: [48, 48]}, test_time: flips}
"""


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Run commands in a folder with a configuration."""
    make_drive(tmp_path / "DRIVE")
    (tmp_path / "config.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    yield lambda line: main(line.split())
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


def test_experiment_is_exported_with_its_threshold_and_scores(tmp_path, command, capsys):
    for split in ("train", "validation", "test"):
        assert command(f"shard --dataset d --number 0 --split {split}") == 0
    assert command("train --experiment e") == 0
    for split in ("validation", "test"):
        assert command(f"predict --experiment e --split {split}") == 0
    assert command("threshold --experiment e") == 0
    assert command("evaluate --experiment e") == 0
    assert command("export e model.zip --licence MIT") == 0
    info, _ = read_bundle(tmp_path / "model.zip")
    threshold = json.loads((tmp_path / "results/predictions/e/threshold.json").read_text())
    assert info.output.threshold == threshold["threshold"]
    assert (info.test_time, info.tiles.size, info.network.valid) == ("flips", (48, 48), True)
    assert info.proof.images == 3
    assert info.proof.largest <= 1
    assert info.provenance.licence == "MIT"
    assert any(name.startswith("f1 micro") for name in info.provenance.scores)
    with zipfile.ZipFile("model.zip") as archive:
        assert "f1 micro" in archive.read("README.md").decode()
    assert command("export missing model.zip") == 1
    assert "'missing'" in capsys.readouterr().err
