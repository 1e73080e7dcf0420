"""Orientation tags that turn an image and not its mask are named, and can be ignored."""

import numpy as np
import pytest
import tifffile
from PIL import Image
from sources import checked, opened, preparation

from pipeline.core.errors import RawDataError
from pipeline.raw.decode.image import decode_file
from pipeline.raw.decode.options import DecodeOptions
from pipeline.shards.prepare import prepare
from pipeline.shards.recipes import ShardRecipe
from pipeline.shards.write import build_shard

RNG = np.random.default_rng(5)
SQUARE = RNG.integers(0, 256, (32, 32), dtype=np.uint8)


def write(path, pixels, orientation=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        tags = [(274, "H", 1, orientation, True)] if orientation != 1 else []
        tifffile.imwrite(path, pixels, photometric="minisblack", extratags=tags)
        return
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if path.suffix == ".webp" else {}
    Image.fromarray(pixels).save(path, exif=exif if orientation != 1 else b"", **options)


def folders(root, image, mask, kind="png", shape=SQUARE.shape):
    """Write three samples whose images and masks have these orientation tags."""
    for number in range(3):
        pixels = np.roll(SQUARE[: shape[0], : shape[1]], number, axis=0)
        write(root / f"images/s{number}.{kind}", pixels, image)
        write(root / f"masks/s{number}.{kind if kind == 'tif' else 'png'}", pixels // 128 * 255, mask)
    return root


def warning(root, **more):
    findings = checked("folder", root, **more)["findings"]
    return [row for row in findings if row["kind"] == "orientation"]


@pytest.mark.parametrize(
    ("kind", "image", "mask"),
    [("jpg", 3, 1), ("png", 6, 1), ("tif", 2, 1), ("webp", 4, 1), ("png", 1, 3), ("tif", 6, 8)],
)
def test_images_turned_unlike_their_masks_are_one_warning(tmp_path, kind, image, mask):
    (row,) = warning(folders(tmp_path / "d", image, mask, kind))
    assert row["count"] == 3
    assert "3 of 3 images turned unlike their masks" in row["found"]
    assert "`exif: ignore`" in row["remedy"]
    assert warning(tmp_path / "d", exif="ignore") == []


@pytest.mark.parametrize(("image", "mask"), [(1, 1), (3, 3)])
def test_equal_orientations_are_no_warning(tmp_path, image, mask):
    assert warning(folders(tmp_path / "d", image, mask)) == []


def test_the_shard_job_warns_once_about_turned_images(tmp_path, capsys):
    root = folders(tmp_path / "d", 3, 1)
    raw = opened("d", "folder", root)
    recipe = preparation().to(ShardRecipe, dataset="d", split="train", source=raw.source)
    build_shard(recipe, number=0, output=tmp_path / "a.h5")
    assert capsys.readouterr().err.count("3 of 3 images turned unlike their masks") == 1


def test_an_image_turned_to_another_size_names_its_tag(tmp_path):
    raw = opened("d", "folder", folders(tmp_path / "d", 6, 1, shape=(32, 20)))
    with pytest.raises(RawDataError, match="turned by 90 degrees clockwise by its orientation tag") as caught:
        prepare(raw, raw.splits["train"][0], preparation())
    assert "`exif: ignore`" in str(caught.value)
    as_stored = opened("d", "folder", tmp_path / "d", exif="ignore")
    sample = as_stored.splits["train"][0]
    prepared = prepare(as_stored, sample, preparation(channels="grey", normalize="unit"))
    np.testing.assert_allclose(prepared.stored[0] * 255, SQUARE[:, :20], atol=1e-4)
    np.testing.assert_array_equal(prepared.mask, SQUARE[:, :20] // 128)


@pytest.mark.parametrize("kind", ["jpg", "png", "tif", "webp"])
def test_ignored_orientations_leave_pixels_as_stored(tmp_path, kind):
    write(tmp_path / f"a.{kind}", SQUARE, 7)
    data = (tmp_path / f"a.{kind}").read_bytes()
    upright = decode_file(data, "a")
    stored = decode_file(data, "a", options=DecodeOptions(exif="ignore"))
    assert (upright.orientation, stored.orientation) == (7, 1)
    np.testing.assert_array_equal(upright.pixels, stored.pixels[::-1, ::-1].swapaxes(0, 1))
    if kind != "jpg":
        np.testing.assert_array_equal(stored.pixels.reshape(32, 32, -1)[:, :, 0], SQUARE)
