"""The synthetic data: formats, contents, and the default run on them."""

import re
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image
from projects import ROOT, Project
from sources import opened

from pipeline.core.errors import OutputError
from pipeline.raw.samples import SYNTHETIC_MARKER
from pipeline.raw.synthetic.datasets import write_datasets

DATASETS = ("DRIVE", "TGS", "Shapes", "DUTS")


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample")
    write_datasets(folder / "data/synthetic")
    return folder / "data/synthetic"


def test_synthetic_data_have_the_formats_of_the_real_data(sample):
    drive, tgs = sample / "DRIVE", sample / "TGS"
    with tifffile.TiffFile(drive / "training/images/21_training.tif") as tiff:
        assert tiff.pages[0].compression == tifffile.COMPRESSION.LZW
        assert tiff.pages[0].shape == (584, 565, 3)
    for name, mode, values in (
        ("training/1st_manual/21_manual1.gif", "L", {0, 255}),
        ("test/mask/01_test_mask.gif", "L", {0, 255}),
        ("test/2nd_manual/01_manual2.gif", "P", {0, 1}),
    ):
        with Image.open(drive / name) as image:
            assert image.mode == mode
            assert set(np.unique(np.asarray(image))) == values
    modes = set()
    for path in (tgs / "train/masks").iterdir():
        with Image.open(path) as image:
            modes.add((image.mode, bool(np.asarray(image).any())))
    assert modes == {("I;16", True), ("L", False)}
    for root, layout in ((drive, "drive"), (tgs, "tgs")):
        raw = opened(layout, layout, root, test="official")
        assert raw.origin == "synthetic"
    assert all((sample / name / SYNTHETIC_MARKER).is_file() for name in DATASETS)


def test_synthetic_masks_resemble_the_real_masks(sample):
    raw = opened("drive", "drive", sample / "DRIVE")
    shares = [raw.read_truth(one)[raw.read_fov(one) == 1].mean() for one in raw.splits["train"]]
    assert 0.08 < np.mean(shares) < 0.2
    raw = opened("tgs", "tgs", sample / "TGS")
    empty = np.mean([not raw.read_truth(one).any() for one in raw.splits["train"]])
    assert 0.25 < empty < 0.5
    codes = opened("tgs", "tgs", sample / "TGS", {"masks": "csv"})
    for a, b in zip(raw.splits["train"], codes.splits["train"], strict=True):
        np.testing.assert_array_equal(raw.read_truth(a), codes.read_truth(b))


def read_pairs(images, masks):
    """Yield name, image (H, W, 3) and mask (H, W) of each pair; the two folders must contain the same names."""
    names = sorted(path.stem for path in images.iterdir())
    assert names == sorted(path.stem for path in masks.iterdir())
    for name in names:
        with Image.open(images / f"{name}.jpg") as image, Image.open(masks / f"{name}.png") as mask:
            assert (image.format, image.mode) == ("JPEG", "RGB")
            assert (mask.format, mask.mode) == ("PNG", "L")
            assert image.size == mask.size
            yield name, np.asarray(image), np.asarray(mask)


@pytest.fixture(scope="module")
def shapes(sample):
    folder = sample / "Shapes"
    return {
        half: {int(n): (p, m) for n, p, m in read_pairs(folder / f"{half}_imgs", folder / f"{half}_mask")}
        for half in ("train", "test")
    }


@pytest.fixture(scope="module")
def duts(sample):
    folder = sample / "DUTS"
    return {
        half: list(read_pairs(folder / half / f"{half}-Image", folder / half / f"{half}-Mask"))
        for half in ("DUTS-TR", "DUTS-TE")
    }


def test_synthetic_shapes_have_real_ids_sizes_and_indices(sample, shapes):
    assert shapes["train"].keys() == {*range(360), *range(800, 860)}
    assert shapes["test"].keys() == set(range(900, 960))
    assert (sample / "Shapes/train_imgs/7.jpg").is_file()
    for image, mask in [*shapes["train"].values(), *shapes["test"].values()]:
        assert image.shape == (128, 128, 3)
        assert {0} < set(np.unique(mask)) <= {0, 1, 2, 3}


def test_shapes_are_equally_common_and_background_prevails(shapes):
    for half in shapes.values():
        masks = np.stack([mask for _, mask in half.values()])
        shares = np.bincount(masks.ravel()) / masks.size
        assert 0.75 < shares[0] < 0.92
        assert max(shares[1:]) < 1.4 * min(shares[1:])


def test_outlines_distinguish_the_shapes(shapes):
    # share of the smallest rotated box around a shape, for images with one shape
    fills = {kind: [] for kind in (1, 2, 3)}
    for _, mask in [*shapes["train"].values(), *shapes["test"].values()]:
        (kind, *others) = set(np.unique(mask)) - {0}
        count, labels, stats, _ = cv2.connectedComponentsWithStats((mask > 0).astype(np.uint8))
        if others or count != 2 or stats[1][:2].min() == 0 or (stats[1][:2] + stats[1][2:4]).max() == 128:
            continue
        corners, _ = cv2.findContours((labels == 1).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        width, height = cv2.minAreaRect(corners[0])[1]
        if max(width, height) < 1.25 * min(width, height):  # overlapping shapes have a longer box
            fills[int(kind)].append(stats[1][cv2.CC_STAT_AREA] / ((width + 1) * (height + 1)))
    for kind, expected in ((1, np.pi / 4), (2, 0.5), (3, 1.0)):
        assert len(fills[kind]) > 2
        assert np.median(fills[kind]) == pytest.approx(expected, abs=0.08)


def test_colour_alone_does_not_distinguish_the_shapes(shapes):
    def pixels(half):
        images, masks = (np.stack(arrays) for arrays in zip(*half.values(), strict=True))
        return images[masks > 0].astype(np.float32), masks[masks > 0]

    colours, kinds = pixels(shapes["train"])
    means = np.stack([colours[kinds == kind].mean(axis=0) for kind in (1, 2, 3)])
    colours, kinds = pixels(shapes["test"])
    nearest = 1 + np.linalg.norm(colours[:, None] - means, axis=2).argmin(axis=1)
    assert np.mean(nearest == kinds) < 0.45


def test_synthetic_duts_has_real_names_sizes_and_mask_values(sample, duts):
    assert (len(duts["DUTS-TR"]), len(duts["DUTS-TE"])) == (96, 24)
    scenes = [scene for half in duts.values() for scene in half]
    styles = [r"ILSVRC201[23]_test_\d{8}", r"n\d{8}_\d+", r"sun_[a-z]{16}"]
    assert all(sum(bool(re.fullmatch(style, name)) for style in styles) == 1 for name, _, _ in scenes)
    assert all(any(re.fullmatch(style, name) for name, _, _ in duts["DUTS-TR"]) for style in styles)
    assert len({name for name, _, _ in scenes}) == len(scenes)
    sizes = [mask.shape for _, _, mask in scenes]
    assert len(set(sizes)) > 5
    assert 0.2 < np.mean([height > width for height, width in sizes]) < 0.6
    assert all(max(size) in (375, 400) and min(size) >= 225 for size in sizes)
    values = [len(np.unique(mask)) for _, _, mask in scenes]
    assert all(set(np.unique(mask)) == {0, 255} for (_, _, mask), n in zip(scenes, values, strict=True) if n < 200)
    assert 0.65 < np.mean([n >= 200 for n in values]) < 0.85
    assert sum(path.stat().st_size for path in (sample / "DUTS").rglob("*.*")) < 4e6


def test_synthetic_duts_objects_are_salient(duts):
    scenes = [scene for half in duts.values() for scene in half]
    shares = [np.mean(mask > 127) for _, _, mask in scenes]
    assert min(shares) > 0.03
    assert max(shares) < 0.6
    assert 0.12 < np.mean(shares) < 0.3
    contrasts = []
    for _, image, mask in scenes:
        around = (cv2.dilate(mask, np.ones((31, 31))) > 0) & (mask == 0)
        contrasts.append(np.linalg.norm(image[mask > 127].mean(axis=0) - image[around].mean(axis=0)))
    assert np.median(contrasts) > 60
    assert np.mean(np.array(contrasts) < 30) < 0.05


def test_foreign_folders_are_reported_and_kept(tmp_path):
    for name in ("Shapes", "DUTS"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "notes.txt").write_text("mine")
    with pytest.raises(OutputError) as refusal:
        write_datasets(tmp_path)
    assert [problem.where for problem in refusal.value.problems] == [str(tmp_path / "Shapes"), str(tmp_path / "DUTS")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["DUTS", "Shapes"]


def test_synthetic_data_are_deterministic_and_replaced(sample, tmp_path):
    for name in DATASETS:
        (tmp_path / name).mkdir()
        (tmp_path / name / SYNTHETIC_MARKER).write_text("an earlier version")
        (tmp_path / name / "left-over.png").write_text("an earlier version")
    write_datasets(tmp_path)
    files = sorted(path.relative_to(sample) for path in sample.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    for path in files:
        assert (sample / path).read_bytes() == (tmp_path / path).read_bytes(), path


@pytest.mark.slow
def test_default_run_learns_and_marks_synthetic_data(sample):
    shutil.copy(ROOT / "config.yaml", sample.parents[1] / "config.yaml")
    project = Project(sample.parents[1])
    project.snakemake()
    board = pd.read_csv(project.folder / "results/leaderboard.csv")
    assert (board["origin"] == "synthetic").all()
    test = board[(board["split"] == "test") & (board["averaging"] == "micro")].set_index(["experiment", "region"])
    assert test.loc[("drive-unet", "fov"), "f1"] > 0.7
    assert test.loc[("tgs-unet", "full"), "f1"] > 0.7
    assert test.loc[("drive.second-observer", "fov"), "f1"] > 0.6
    assert project.planned() == {}
