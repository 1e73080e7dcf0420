"""Predictions of an experiment with the network of its best or of its last epoch."""

import pytest
import torch
from rawfiles import make_drive

from pipeline.cli.main import main
from pipeline.training.checkpoint import load_checkpoint

CONFIG = """
datasets: {d: {layout: drive, root: DRIVE, size: [32, 32], validation: {fraction: 0.34}}}
experiments:
  e: {dataset: d, model: {name: unet-small, widths: [2, 2]}, loss: bce, optimizer: {name: sgd, lr: 2},
    batch_size: 1, epochs: 3, monitor: val_dice, threads: 1, predict_with: WHICH}
"""


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Run commands in a folder with an experiment whose best epoch is not its last one."""
    make_drive(tmp_path / "DRIVE")
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    yield lambda line: main(line.split())
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


def predicted(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.png")}


def test_experiment_predicts_with_the_network_of_its_choice(tmp_path, command):
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.replace("WHICH", "best"))
    for split in ("train", "validation"):
        assert command(f"shard --dataset d --number 0 --split {split}") == 0
    assert command("train --experiment e") == 0
    best, last = (load_checkpoint(tmp_path / f"results/models/e/{name}.pt").epoch for name in ("best", "last"))
    assert best < last == 3
    images = {}
    for which in ("best", "last"):
        config.write_text(CONFIG.replace("WHICH", which))
        assert command("predict --experiment e --split validation --output of-experiment") == 0
        images[which] = predicted(tmp_path / "of-experiment")
        checkpoint = f"--checkpoint results/models/e/{which}.pt --output of-checkpoint"
        assert command(f"predict --experiment e --split validation {checkpoint}") == 0
        assert images[which] == predicted(tmp_path / "of-checkpoint")
    assert images["best"] != images["last"]
