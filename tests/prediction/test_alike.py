"""Warnings about images that are not like the training images."""

import numpy as np
import pytest
from rawfiles import blobs, make_tgs, write_tif
from sources import source
from untrained import build, checkpoint, predict_folder, predict_shard

from pipeline.images.png import write_png
from pipeline.raw.value_range import image_values, merge_values
from pipeline.shards.prepare import normalization
from pipeline.shards.read import ShardReader
from pipeline.shards.recipes import Normalize


def trained(method="unit"):
    """Describe ten 8-bit images."""
    images = [blobs(number, 70, 60)[1] for number in range(10)]
    parts = [image_values(image, *normalization(image, Normalize(method=method)), method) for image in images]
    return {"info": {"image_values": merge_values(parts).plain()}, "preparation": {"normalize": method}}


def warnings(capsys):
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]


def write(folder, name, pixels):
    folder.mkdir(exist_ok=True)
    write_tif(folder / name, pixels, photometric="rgb") if name.endswith("tif") else write_png(folder / name, pixels)


def test_12_bits_for_a_network_of_8_bits_are_one_warning(tmp_path, capsys):
    for number in range(5):
        write(tmp_path / "in", f"{number}.tif", blobs(number, 70, 60)[1].astype(np.uint16) * 16)
    write(tmp_path / "in", "like.png", blobs(5, 70, 60)[1])
    predict_folder(tmp_path, checkpoint(tmp_path / "c.pt", **trained()))
    (line,) = warnings(capsys)
    for text in ("5 of 6 images not like", "in/0.tif: 12-bit values in uint16", "; ...; the training images (uint8)"):
        assert text in line


@pytest.mark.parametrize("method", ["unit", "minmax"])
def test_images_like_the_training_images_are_no_warning(tmp_path, capsys, method):
    for number in range(10, 14):
        write(tmp_path / "in", f"{number}.png", blobs(number, 90, 80)[1])
    predict_folder(tmp_path, checkpoint(tmp_path / "c.pt", **trained(method)))
    assert warnings(capsys) == []


@pytest.mark.parametrize("known", [True, False])
def test_an_image_that_one_pixel_darkens_is_a_warning(tmp_path, capsys, known):
    pixels = blobs(1, 70, 60)[1].astype(np.uint16)
    pixels[30, 30] = 65535
    write(tmp_path / "in", "hot.tif", pixels)
    options = trained("minmax") if known else {}
    predict_folder(tmp_path, checkpoint(tmp_path / "c.pt", **{**options, "preparation": {"size": "native"}}))
    (line,) = warnings(capsys)
    assert "1 of 1 image, almost constant for the network" in line
    assert "repair or clip" in line


@pytest.mark.parametrize("alike", [True, False])
def test_samples_unlike_the_training_samples_are_a_warning(tmp_path, capsys, alike):
    samples = source("tgs", make_tgs(tmp_path / "TGS", unlabelled=5))
    shard = build(tmp_path / "u.h5", "unlabelled", samples, normalize="unit")
    values = ShardReader([shard]).image_values()
    if not alike:
        dark = np.eye(9, dtype=np.uint8)[:, :, None] * 2
        values = image_values(dark, *normalization(dark, Normalize(method="unit")), "unit")
    capsys.readouterr()
    network = checkpoint(tmp_path / "c.pt", info={"image_values": values.plain()}, preparation={"normalize": "unit"})
    predict_shard(network, shard, tmp_path / "p")
    assert len(warnings(capsys)) == (not alike)
