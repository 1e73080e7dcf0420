"""The embedded sample: its formats, and the whole default run on it."""

import shutil

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image
from projects import ROOT, Project

from pipeline.raw.dataset import open_dataset
from pipeline.raw.sample import draw_sample
from pipeline.raw.samples import MARKER


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample")
    draw_sample(folder / "data/sample")
    return folder / "data/sample"


def test_the_sample_has_the_formats_of_the_real_sets(sample):
    drive, tgs = sample / "DRIVE", sample / "TGS"
    with tifffile.TiffFile(drive / "training/images/21_training.tif") as tiff:
        assert tiff.pages[0].compression == tifffile.COMPRESSION.LZW
        assert tiff.pages[0].shape == (584, 565, 3)
    for name, mode, values in (
        ("training/1st_manual/21_manual1.gif", "L", {0, 255}),
        ("test/mask/01_test_mask.gif", "L", {0, 255}),
        ("test/2nd_manual/01_manual2.gif", "P", {0, 1}),
    ):
        with Image.open(drive / name) as picture:
            assert picture.mode == mode
            assert set(np.unique(np.asarray(picture))) == values
    modes = set()
    for path in (tgs / "train/masks").iterdir():
        with Image.open(path) as picture:
            modes.add((picture.mode, bool(np.asarray(picture).any())))
    assert modes == {("I;16", True), ("L", False)}
    for root, layout in ((drive, "drive"), (tgs, "tgs")):
        raw = open_dataset(layout, layout=layout, root=str(root), test={"method": "official"})
        assert raw.origin == "drawn sample"
        assert (root / MARKER).is_file()


def test_sample_masks_look_like_the_real_ones(sample):
    raw = open_dataset("drive", layout="drive", root=str(sample / "DRIVE"))
    shares = [raw.read_truth(one)[raw.read_fov(one) == 1].mean() for one in raw.splits["train"]]
    assert 0.08 < np.mean(shares) < 0.2
    raw = open_dataset("tgs", layout="tgs", root=str(sample / "TGS"))
    empty = np.mean([not raw.read_truth(one).any() for one in raw.splits["train"]])
    assert 0.25 < empty < 0.5
    codes = open_dataset("tgs", layout="tgs", root=str(sample / "TGS"), options={"masks": "csv"})
    for a, b in zip(raw.splits["train"], codes.splits["train"], strict=True):
        np.testing.assert_array_equal(raw.read_truth(a), codes.read_truth(b))


def test_the_sample_is_the_same_every_time_and_replaces_itself(sample, tmp_path):
    for _ in range(2):
        draw_sample(tmp_path)
    files = sorted(path.relative_to(sample) for path in sample.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    for path in files:
        assert (sample / path).read_bytes() == (tmp_path / path).read_bytes(), path


@pytest.mark.slow
def test_the_default_run_learns_and_says_that_its_data_were_drawn(sample):
    shutil.copy(ROOT / "config.yaml", sample.parents[1] / "config.yaml")
    project = Project(sample.parents[1])
    project.snakemake()
    board = pd.read_csv(project.folder / "results/leaderboard.csv")
    assert (board["origin"] == "drawn sample").all()
    test = board[(board["split"] == "test") & (board["averaging"] == "micro")].set_index(["experiment", "region"])
    assert test.loc[("drive-unet", "fov"), "f1"] > 0.7
    assert test.loc[("tgs-unet", "full"), "f1"] > 0.7
    assert test.loc[("drive.second-observer", "fov"), "f1"] > 0.6
    assert project.planned() == {}
