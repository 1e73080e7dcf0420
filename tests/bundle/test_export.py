"""`export` of an experiment of the configuration: its threshold, scores and test images."""

import json
import zipfile

import numpy as np
import pandas as pd
import pytest
import torch
from rawfiles import make_drive
from untrained import read

from pipeline.bundle.read import read_bundle
from pipeline.cli.main import main

CONFIG = """
datasets: {d: {layout: drive, root: DRIVE, size: native, validation: {fraction: 0.34}}}
experiments:
  e: {dataset: d, model: {name: unet-crop, widths: [4, 4], padding: mirror}, loss: bce,
    optimizer: {name: sgd, lr: 0.01}, batch_size: 1, epochs: 1, monitor: val_dice, threads: 1, precision: fp32,
    crop: [48, 48], tiles: {size: [48, 48]}, test_time: flips}
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
    assert info.output.threshold == threshold["value"]
    assert (info.test_time, info.tiles.size, info.network.valid) == ("flips", (48, 48), True)
    assert info.proof.images == 3
    assert info.proof.largest <= 1
    assert info.provenance.licence == "MIT"
    assert any(name.startswith("f1 micro") for name in info.provenance.scores)
    with zipfile.ZipFile("model.zip") as archive:
        assert "f1 micro" in archive.read("README.md").decode()
    assert command("predict --bundle model.zip --input DRIVE/test/images --output out") == 0
    checkpoint = "--checkpoint results/models/e/best.pt --precision fp32 --tiles 48 48 --test-time flips"
    assert command(f"predict {checkpoint} --input DRIVE/test/images --output of-checkpoint") == 0
    expected = sorted(tmp_path.glob("of-checkpoint/probability/*.png"))
    written = sorted(tmp_path.glob("out/probability/*.png"))
    assert len(expected) == len(written) == 3
    assert all(np.abs(read(a) - read(b).astype(int)).max() <= 1 for a, b in zip(expected, written, strict=True))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"mask", "probability", "timing.csv"}
    assert command("evaluate --experiment e --test-predictions model.zip --output scores") == 0
    scores, of_bundle = (pd.read_csv(tmp_path / f"{path}/summary.csv") for path in ("results/metrics/e", "scores"))
    scores = scores[scores["split"] == "test"].reset_index(drop=True)
    assert np.allclose(scores["f1"], of_bundle["f1"], atol=1e-3)
    assert set(of_bundle["threshold"]) == set(scores["threshold"])
    assert command("predict --bundle model.zip --input DRIVE --output out --tiles 64 64") != 0
    assert "not allowed here: --tiles" in capsys.readouterr().err
    assert command("export missing model.zip") != 0
    assert "'missing'" in capsys.readouterr().err
