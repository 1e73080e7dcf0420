"""Tiles of one larger image are found by their borders, and stay in one split."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.ndimage import gaussian_filter

from pipeline.cli import main as cli
from pipeline.config.config import parse
from pipeline.graph.study import Study
from pipeline.images.png import write_png
from pipeline.raw.mosaics import DIRECTIONS, group_tiles, link_tiles, mask_agreement

SIDE, ROWS, COLUMNS, MOSAICS = 40, 2, 3, 3
SIZE = ROWS * COLUMNS


def field(seed):
    """Return a smooth random image of 0 to 255, of ROWS x COLUMNS tiles."""
    noise = np.random.default_rng(seed).normal(size=(ROWS * SIDE, COLUMNS * SIDE))
    smooth = gaussian_filter(noise, 2)
    return 255 * (smooth - smooth.min()) / np.ptp(smooth)


def cut(image):
    blocks = image.reshape(ROWS, SIDE, COLUMNS, SIDE)
    return blocks.swapaxes(1, 2).reshape(SIZE, SIDE, SIDE)


@pytest.fixture(scope="module")
def tiles():
    """Tiles of three mosaics, each with another brightness and contrast, and two black ones at the end."""
    rng = np.random.default_rng(9)
    images = np.concatenate([cut(field(seed)) for seed in range(MOSAICS)])
    gain, offset = rng.uniform(0.5, 0.8, (len(images), 1, 1)), rng.uniform(0, 50, (len(images), 1, 1))
    return np.concatenate([np.rint(images * gain + offset), np.zeros((2, SIDE, SIDE))]).astype(np.float32)


def neighbours(axis):
    numbers = np.arange(SIZE).reshape(ROWS, COLUMNS)
    first, second = (numbers[:, :-1], numbers[:, 1:]) if axis == 2 else (numbers[:-1], numbers[1:])
    pairs = np.stack([first.ravel(), second.ravel()], axis=1)
    return sorted((pairs[None] + SIZE * np.arange(MOSAICS)[:, None, None]).reshape(-1, 2).tolist())


@pytest.mark.parametrize("axis", DIRECTIONS.values())
def test_neighbours_are_linked_and_black_borders_are_not(tiles, axis):
    order = np.random.default_rng(3).permutation(len(tiles))
    links = link_tiles(tiles[order], axis)
    assert sorted(order[links].tolist()) == neighbours(axis)


def test_unrelated_tiles_are_not_linked():
    noise = np.random.default_rng(1).normal(size=(60, 100, 100))
    smooth = (gaussian_filter(noise, (0, 2, 2)) * 300 + 128).astype(np.float32)
    assert [len(link_tiles(smooth, axis)) for axis in DIRECTIONS.values()] == [0, 0]


def test_groups_are_named_by_their_first_tile():
    links = [np.array([[3, 1], [4, 3]]), np.array([[5, 2]])]
    assert group_tiles(7, links).tolist() == [0, 1, 2, 1, 1, 2, 6]
    assert group_tiles(2, []).tolist() == [0, 1]


def test_masks_agree_along_linked_borders_only(tiles):
    masks = np.concatenate([cut(field(seed) > 128) for seed in range(MOSAICS)])
    links = np.array(neighbours(2))
    agreement = mask_agreement(masks, links, 2, mixed=True)
    right, left = masks[links[:, 0], :, -1], masks[links[:, 1], :, 0]
    expected = [(a == b).mean() for a, b in zip(right, left, strict=True) if 0 < a.mean() < 1 or 0 < b.mean() < 1]
    assert agreement.linked == pytest.approx(np.mean(expected))
    assert agreement.links == len(expected) > 5
    assert agreement.others < 0.7 < 0.9 < agreement.linked


@pytest.fixture
def folder(tmp_path, tiles, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("images", "masks"):
        (tmp_path / "TGS/train" / name).mkdir(parents=True)
    (tmp_path / "TGS/train.csv").write_text("id,rle_mask\n")
    for number, tile in enumerate(tiles):
        write_png(tmp_path / f"TGS/train/images/t{number:02d}.png", tile.astype(np.uint8))
        write_png(tmp_path / f"TGS/train/masks/t{number:02d}.png", (255 * (tile > 100)).astype(np.uint8))
    (tmp_path / "TGS/train/images/._t00.png").write_bytes(b"attributes of macOS")
    return tmp_path


def mosaics(*words):
    return cli.main(["mosaics", "--images", "TGS/train/images", "--output", "TGS/mosaics.csv", *words])


def test_tiles_of_a_mosaic_stay_in_one_split(folder, capsys):
    assert mosaics("--masks", "TGS/train/masks", "--sheet", "sheet.png") == 0
    said = capsys.readouterr().err
    assert "20 tiles: 12 links left to right and 9 links top to bottom; 3 groups of 18 tiles, the largest of 6" in said
    assert said.count("linked borders agree") == 4
    assert (folder / "sheet.png").stat().st_size > 1000
    group = "{column: group, file: mosaics.csv, id: id}"
    config = f"""
    datasets:
      d:
        layout: tgs
        root: TGS
        size: [32, 32]
        test: {{rule: fraction, fraction: 0.3, group: {group}}}
        validation: {{fraction: 0.3, group: {group}}}
    experiments: {{}}
    """
    splits = Study(parse(yaml.safe_load(config))).raw("d").splits
    split_of = {sample.id: split for split, samples in splits.items() for sample in samples}
    by_mosaic = [{split_of[f"t{number:02d}"] for number in range(k, k + SIZE)} for k in range(0, 3 * SIZE, SIZE)]
    assert [len(names) for names in by_mosaic] == [1, 1, 1]
    assert {*split_of.values()} == {"train", "validation", "test"}


@pytest.mark.parametrize(
    ("damage", "words", "message"),
    [
        (lambda: write_png(Path("TGS/train/images/t01.png"), np.zeros((3, 4), np.uint8)), [], "4 x 3 pixels"),
        (lambda: None, ["--images", "nowhere"], "no images"),
        (lambda: None, ["--images", "TGS/train/images", "TGS/train/masks"], "a name that another tile has"),
        (lambda: None, ["--masks", "nowhere"], "correct --masks"),
    ],
)
def test_tiles_that_cannot_be_compared_are_refused(folder, capsys, damage, words, message):
    damage()
    assert mosaics(*words) == 1
    assert message in capsys.readouterr().err
