"""Memory of predictions: large images are processed in bands."""

import subprocess
import sys
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from rawfiles import make_tgs, write_tif
from sources import source
from untrained import build, checkpoint, load, predict_folder, predict_shard, probabilities, read

from pipeline.core.errors import PipelineError, PredictionError
from pipeline.images.png import PngWriter, write_png
from pipeline.prediction import bands, new_images
from pipeline.prediction import network as networks
from pipeline.prediction import predict as shard_prediction
from pipeline.prediction.bands import native_bands
from pipeline.prediction.memory import memory_errors
from pipeline.prediction.recipes import Tiles
from pipeline.raw.decode import image as decoder
from pipeline.shards.prepare import resize_image

NATIVE = {"preparation": {"size": "native"}}


def band_by_band(monkeypatch, rows=7):
    """Process every image as a large one, in bands of a few rows."""
    monkeypatch.setattr(new_images, "LARGE", 0)
    monkeypatch.setattr(shard_prediction, "LARGE", 0)
    monkeypatch.setattr(bands, "_BAND_PIXELS", rows * 100)


def assert_equal_images(folder, other):
    files = sorted(path.relative_to(folder) for path in folder.rglob("*.png"))
    assert files == sorted(path.relative_to(other) for path in other.rglob("*.png"))
    for file in files:
        np.testing.assert_array_equal(read(folder / file), read(other / file))


def write_images(folder):
    rng = np.random.default_rng(3)
    folder.mkdir()
    for height, width in ((48, 64), (101, 100), (40, 180), (150, 45)):
        rgb = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        write_png(folder / f"rgb{height}.png", rgb)
        write_png(folder / f"grey{height}.png", rgb[:, :, 0])
        write_tif(folder / f"deep{height}.tif", rgb[:, :, 0].astype(np.uint16) * 11)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("options", [{}, {"tiles": Tiles(size=(32, 48))}])
def test_bands_give_the_same_images_as_whole_images(tmp_path, monkeypatch, classes, options):
    write_images(tmp_path / "in")
    for name, more in (("fixed", {}), ("native", NATIVE)):
        path = checkpoint(tmp_path / "c.pt", classes=classes, **more)
        predict_folder(tmp_path, path, output=tmp_path / f"{name}-whole", **options)
        with monkeypatch.context() as patch:
            band_by_band(patch)
            predict_folder(tmp_path, path, output=tmp_path / f"{name}-bands", **options)
        assert_equal_images(tmp_path / f"{name}-whole", tmp_path / f"{name}-bands")


@pytest.mark.parametrize("more", [{}, {"tiles": {"size": [32, 32]}}])
def test_bands_of_shards_are_the_same_images(tmp_path, monkeypatch, more):
    path, samples = checkpoint(tmp_path / "c.pt"), source("tgs", make_tgs(tmp_path / "TGS", unlabelled=3))
    shard = build(tmp_path / "u.h5", "unlabelled", samples)
    predict_shard(path, shard, tmp_path / "whole", **more)
    band_by_band(monkeypatch)
    predict_shard(path, shard, tmp_path / "bands", **more)
    assert_equal_images(tmp_path / "whole", tmp_path / "bands")


@pytest.mark.parametrize("native_size", [(300, 200), (48, 64), (20, 200), (200, 20), (20, 20), (48, 200), (200, 64)])
def test_bands_are_resized_like_the_whole_image(monkeypatch, native_size):
    monkeypatch.setattr(bands, "_BAND_PIXELS", 7 * native_size[1])
    planes = np.random.default_rng(2).random((2, 48, 64), dtype=np.float32)
    parts = list(native_bands([planes[:, :20], planes[:, 20:]], (48, 64), native_size))
    assert max(part.shape[1] for part in parts) == 7
    expected = np.stack([resize_image(plane, *native_size) for plane in planes])
    np.testing.assert_allclose(np.concatenate(parts, axis=1), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (5, 9), (33, 20, 3), (4, 7, 4)])
def test_png_written_in_bands_has_the_same_pixels(tmp_path, shape):
    pixels = np.random.default_rng(4).integers(0, 256, shape, dtype=np.uint8)
    with PngWriter(tmp_path / "x.png", *shape[:2], (*shape, 1)[2]) as file:
        for top in range(0, len(pixels), 3):
            file.write(pixels[top : top + 3])
    np.testing.assert_array_equal(read(tmp_path / "x.png"), pixels)


@pytest.mark.parametrize(("size", "options"), [("native", {"tiles": Tiles(size=(64, 64), overlap=0)}), ([48, 64], {})])
def test_memory_is_bounded_by_a_few_copies_of_the_image(tmp_path, monkeypatch, size, options):
    noise = np.random.default_rng(5).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    pixels = np.tile(noise, (20, 20, 1))
    (tmp_path / "in").mkdir()
    for name in "ab":
        write_png(tmp_path / f"in/{name}.png", pixels)
    monkeypatch.setattr(new_images, "LARGE", 0)
    monkeypatch.setattr(bands, "_BAND_PIXELS", pixels.size // 100)
    path = checkpoint(tmp_path / "c.pt", preparation={"size": size})
    tracemalloc.start()
    try:
        predict_folder(tmp_path, path, **options)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2.6 * pixels.nbytes  # the probability in float32, or the overlay in float64, would add more


_PREDICT = """
import sys
from pathlib import Path
from pipeline.prediction.new_images import predict_images
from pipeline.prediction.recipes import Tiles
path, image, output, tiles = sys.argv[1:]
predict_images(checkpoint=Path(path), images=Path(image), output=Path(output), precision="fp32", threads=2,
               tiles=Tiles(size=(512, 512), overlap=0) if tiles == "tiles" else None)
# `ru_maxrss` would include the memory of the process that started this one
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(int(status["VmHWM"].split()[0]) / 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "size", "tiles"),
    [
        ("rgb.jpg", [256, 256], "whole"),
        ("grey.png", [256, 256], "whole"),
        ("rgb.tif", "native", "tiles"),
    ],
)
def test_an_image_of_16384_pixels_takes_less_than_3_gb(tmp_path, kind, size, tiles):
    side = 16384
    block = np.random.default_rng(6).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    pixels = np.tile(block if kind.startswith("rgb") else block[:, :, :1], (side // 256, side // 256, 1))
    if kind.endswith("png"):
        write_png(tmp_path / kind, pixels)
    elif kind.endswith("jpg"):
        cv2.imwrite(str(tmp_path / kind), pixels)
    else:
        write_tif(tmp_path / kind, np.squeeze(pixels))
    del pixels
    path = checkpoint(tmp_path / "c.pt", preparation={"size": size})
    command = [sys.executable, "-c", _PREDICT, path, tmp_path / kind, tmp_path / "out", tiles]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert float(done.stdout) < 3000


# -- too little memory -------------------------------------------------------------------------------------------------


def refuse(*_, **__):
    raise MemoryError("Unable to allocate 3.00 GiB")


@pytest.mark.parametrize("place", ["as_channels", "resize_image", "for_display"])
@pytest.mark.parametrize(
    ("more", "options", "remedy"),
    [
        (NATIVE, {}, "--tiles 512 512"),
        (NATIVE, {"tiles": Tiles(size=(32, 48))}, "cut the image into parts"),
        ({}, {}, "cut the image into parts"),
    ],
)
def test_lack_of_memory_is_a_message_with_remedy(tmp_path, monkeypatch, place, more, options, remedy):
    write_images(tmp_path / "in")
    monkeypatch.setattr(new_images, place, refuse)
    with pytest.raises(PipelineError, match=remedy) as caught:
        predict_folder(tmp_path, checkpoint(tmp_path / "c.pt", **more), **options)
    assert "Unable to allocate 3.00 GiB" in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("not enough memory: you tried")]
)
@pytest.mark.parametrize(("tiles", "remedy"), [(None, "--tiles 512 512"), (Tiles(size=(32, 48)), "smaller tiles")])
def test_lack_of_memory_in_the_network_suggests_tiles(tmp_path, monkeypatch, error, tiles, remedy):
    def run_network(*_):
        raise error

    monkeypatch.setattr(networks, "run_network", run_network)
    with pytest.raises(PredictionError, match=remedy):
        probabilities(load(checkpoint(tmp_path / "c.pt"), tiles=tiles), torch.rand(1, 3, 64, 64))
    cropping = checkpoint(tmp_path / "c.pt", name="unet-crop", widths=(4, 6, 8))  # takes no tiles
    with pytest.raises(PredictionError, match="a machine with more memory"):
        probabilities(load(cropping), torch.rand(1, 3, 48, 64))


def test_a_decoder_without_memory_reports_no_damage(monkeypatch):
    monkeypatch.setattr(decoder.imagecodecs, "png_decode", refuse)
    pixels = cv2.imencode(".png", np.zeros((40, 40), np.uint8))[1].tobytes()
    with pytest.raises(MemoryError):
        decoder.decode(pixels, "x.png")


def test_the_first_remedy_for_a_lack_of_memory_is_kept():
    with (
        pytest.raises(PredictionError, match="predict tiles"),
        memory_errors("all samples", "cut the images"),
        memory_errors("a.png", "predict tiles"),
    ):
        raise MemoryError("out of memory")
