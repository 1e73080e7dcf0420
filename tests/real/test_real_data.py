"""The real DRIVE and TGS, through the real workflow. Slow; skipped without PIPELINE_REAL_DATA."""

import json

import h5py
import numpy as np
import pandas as pd
import pytest
from projects import Project

from pipeline.raw.dataset import open_dataset

pytestmark = pytest.mark.slow

CONFIG = """
datasets:
  drive: {{layout: drive, root: {root}/DRIVE, size: [512, 512]}}
  tgs:
    layout: tgs
    root: {root}/TGS
    size: [128, 128]
    shards: 8
    test: {{method: permutation, fraction: 0.15, seed: 42}}
experiments: {{}}
"""


@pytest.fixture(scope="module")
def built(real_data, tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("real"))
    project.config.write_text(CONFIG.format(root=json.dumps(str(real_data))[1:-1]))
    project.snakemake("shards", "metrics")
    return project


def test_every_sample_becomes_part_of_a_shard_and_nothing_is_complained_about(built):
    found = {}
    for path in sorted((built.folder / "results/shards").rglob("*.h5")):
        with h5py.File(path) as file:
            split = (path.parent.name, file.attrs["split"])
            found[split] = found.get(split, 0) + len(file["ids"])
            assert np.isfinite(file["images"][:]).all()
            assert file.attrs["origin"] == "raw files"
            if split[1] != "unlabelled":
                assert set(np.unique(file["masks"][:])) <= {0, 1}
    assert found == {
        ("drive", "train"): 16,
        ("drive", "validation"): 4,
        ("drive", "test"): 20,
        ("tgs", "train"): 2720,
        ("tgs", "validation"): 680,
        ("tgs", "test"): 600,
        ("tgs", "unlabelled"): 60,
    }
    for log in (built.folder / "results/logs/shard").rglob("*.log"):
        assert "arning" not in log.read_text(), log


def test_the_second_observer_has_the_published_scores(built):
    summary = pd.read_csv(built.folder / "results/metrics/drive.second-observer/summary.csv")
    macro = summary[summary["averaging"] == "macro"].set_index("region").round(4)
    assert macro.loc["fov", ["f1", "recall", "specificity", "accuracy"]].tolist() == [0.7881, 0.7760, 0.9725, 0.9473]
    assert macro.loc["full", "accuracy"] == 0.9637
    assert (macro["images"] == 20).all()
    pictures = pd.read_csv(built.folder / "results/metrics/drive.second-observer/per_image.csv")
    assert pictures[pictures["region"] == "fov"]["f1"].std() == pytest.approx(0.0206, abs=0.0006)


def test_vessels_cover_the_known_share(built, real_data):
    raw = open_dataset("drive", layout="drive", root=str(real_data / "DRIVE"), test={"method": "official"})
    samples = [*raw.splits["train"], *raw.splits["test"]]
    masks = np.stack([raw.read_truth(sample) for sample in samples])
    fovs = np.stack([raw.read_fov(sample) for sample in samples])
    assert masks.mean() == pytest.approx(0.086, abs=0.001)
    assert masks[fovs == 1].mean() == pytest.approx(0.1263, abs=0.0002)


def test_run_length_codes_and_png_masks_agree_on_all_tiles(real_data):
    root = str(real_data / "TGS")
    files = open_dataset("tgs", layout="tgs", root=root)
    codes = open_dataset("tgs", layout="tgs", root=root, options={"masks": "csv"})
    empty = 0
    for a, b in zip(files.splits["train"], codes.splits["train"], strict=True):
        assert a.id == b.id
        mask = files.read_truth(a)
        np.testing.assert_array_equal(mask, codes.read_truth(b), err_msg=a.id)
        empty += not mask.any()
    assert len(files.splits["train"]) == 4000
    assert empty == 1562


def test_the_tutorials_split_is_the_first_600_of_the_permutation(built, real_data):
    table = pd.read_csv(built.folder / "results/splits/tgs.csv", dtype=str)
    names = sorted(path.stem for path in (real_data / "TGS/train/images").iterdir())
    order = np.random.RandomState(42).permutation(4000)
    assert set(table[table["split"] == "test"]["id"]) == {names[index] for index in order[:600]}
