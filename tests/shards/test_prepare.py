import cv2
import numpy as np
import pytest
from sources import opened, preparation

from pipeline.core.errors import RawDataError
from pipeline.shards.prepare import encode, normalization, prepare, resize_image
from pipeline.shards.recipes import Normalize

RNG = np.random.default_rng(1)
SMALL = preparation(size=(32, 48), storage="float16")


def first(root, **changes):
    """Return the first training sample of DRIVE, prepared."""
    raw = opened("drive", "drive", root, test="official")
    return prepare(raw, raw.splits["train"][0], SMALL.changed(**changes))


def apply(pixels, **normalize):
    scale, offset = normalization(pixels, Normalize(**normalize))
    return pixels * scale + offset


def test_shrinking_averages_over_all_pixels():
    fine = np.indices((64, 64)).sum(axis=0) % 2 * 255  # a checkerboard, which would alias without averaging
    small = resize_image(fine.astype(np.uint8), 16, 16)
    assert set(np.unique(small)) <= {127, 128}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("size", [(10, 10), (90, 10), (10, 90), (90, 90), (40, 30)])
def test_resizing_keeps_dtype_channels_and_mean(dtype, size):
    pixels = cv2.GaussianBlur(RNG.integers(0, 200, (40, 30, 3)).astype(np.float32), (0, 0), 4).astype(dtype)
    for interpolation in ("area", "linear"):
        resized = resize_image(pixels, *size, interpolation)
        assert resized.shape == (*size, 3)
        assert resized.dtype == dtype
        assert abs(resized.mean() - pixels.mean()) < 4
    assert resize_image(pixels[:, :, :1], *size).shape == (*size, 1)


def test_minmax_is_over_all_channels_together():
    pixels = np.array([[[10, 20, 30], [110, 60, 70]]], dtype=np.uint8)
    image = apply(pixels, method="minmax")
    np.testing.assert_allclose(image, (pixels - 10.0) / 100.0, atol=1e-6)


@pytest.mark.parametrize("value", [0, 7, 255])
def test_a_blank_image_becomes_zeros(value):
    image = apply(np.full((4, 4, 3), value, dtype=np.uint8), method="minmax")
    np.testing.assert_array_equal(image, 0.0)


def test_unit_and_symmetric_use_the_range_of_the_dtype():
    for dtype, white in ((np.uint8, 255), (np.uint16, 65535)):
        pixels = np.array([[[0], [white // 5]]], dtype=dtype)
        np.testing.assert_allclose(apply(pixels, method="unit").ravel(), [0, 0.2], atol=1e-6)
        np.testing.assert_allclose(apply(pixels, method="symmetric").ravel(), [-1, -0.6], atol=1e-6)


def test_standard_takes_mean_and_std_of_each_channel():
    pixels = np.full((1, 1, 3), 51, dtype=np.uint8)
    image = apply(pixels, method="standard", mean=[0.1, 0.2, 0.3], std=[0.5, 0.25, 0.1])
    np.testing.assert_allclose(image.ravel(), [0.2, 0.0, -1.0], atol=1e-6)
    with pytest.raises(ValueError, match="3 channels, but `mean` has 1"):
        apply(pixels, method="standard", mean=[0.1], std=[0.5])


def test_float_images_have_no_full_range():
    with pytest.raises(ValueError, match="no full range"):
        apply(np.ones((2, 2, 1), np.float32), method="unit")


@pytest.mark.parametrize("storage", ["float16", "float32"])
@pytest.mark.parametrize(
    "normalize", [{"method": "minmax"}, {"method": "standard", "mean": [0.4] * 3, "std": [0.3] * 3}]
)
def test_lookup_table_gives_the_computed_values(storage, normalize):
    pixels = RNG.integers(3, 250, (20, 30, 3), dtype=np.uint8)
    scale, offset = normalization(pixels, Normalize(**normalize))
    computed = np.moveaxis(pixels * scale + offset, -1, 0).astype(storage)
    np.testing.assert_array_equal(encode(pixels, scale, offset, storage), computed)
    deep = pixels.astype(np.uint16)
    np.testing.assert_array_equal(encode(deep, scale, offset, storage), computed)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_values_out_of_range_of_the_storage_are_refused(dtype):
    pixels = np.full((4, 4, 1), 200, dtype=dtype)
    scale, offset = np.array([1e4], np.float32), np.zeros(1, np.float32)
    with pytest.raises(ValueError, match="which float16 cannot hold"):
        encode(pixels, scale, offset, "float16")
    assert encode(pixels, scale, offset, "float32").max() == 2e6


def test_prepare_returns_all_fields(drive):
    raw = opened("drive", "drive", drive, test="official")
    item, same_item, other_item = (prepare(raw, raw.splits["train"][index], SMALL) for index in (0, 0, 1))
    assert item.stored.shape == (3, 32, 48)
    assert item.mask.shape == item.fov.shape == (32, 48)
    assert item.original_size == (70, 60)
    assert item.digest == same_item.digest
    assert item.digest != other_item.digest


def test_size_errors_of_mask_and_field_of_view_are_both_reported(drive):
    from rawfiles import write_gif

    write_gif(drive / "training/1st_manual/21_manual1.gif", np.zeros((70, 61), np.uint8))
    write_gif(drive / "training/mask/21_training_mask.gif", np.zeros((69, 60), np.uint8))
    with pytest.raises(RawDataError, match="61x70 pixels") as caught:
        first(drive)
    assert "60x69 pixels" in str(caught.value)


@pytest.mark.parametrize("storage", ["uint8", "float16"])
def test_16_bit_images_require_float32_storage(drive, storage):
    from rawfiles import write_tif

    pixels = RNG.integers(0, 4096, (70, 60, 3), dtype=np.uint16)
    write_tif(drive / "training/images/21_training.tif", pixels)
    with pytest.raises(RawDataError, match="uint16 pixels") as caught:
        first(drive, storage=storage)
    assert "storage: auto" in str(caught.value)


@pytest.mark.parametrize("method", ["minmax", "unit", "symmetric"])
def test_12_bit_levels_are_kept_in_float32(drive, method):
    from rawfiles import write_tif

    pixels = np.arange(70 * 60 * 3, dtype=np.uint16).reshape(70, 60, 3) % 4096
    write_tif(drive / "training/images/21_training.tif", pixels)
    item = first(drive, size="native", storage="float32", normalize=Normalize(method=method))
    assert len(np.unique(item.stored)) == 4096


def write_pair(root, image, mask):
    for folder, pixels in (("images", image), ("masks", mask)):
        (root / folder).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / folder / "a.png"), pixels)


def folder_sample(root, **options):
    """Return a folder data set and its only sample."""
    raw = opened("d", "folder", root, **options)
    return raw, raw.splits["train"][0]


@pytest.mark.parametrize("interpolation", ["area", "linear"])
def test_soft_masks_are_interpolated_like_images(tmp_path, interpolation):
    mask = np.zeros((64, 96), np.uint8)
    mask[:, 1::3] = 240  # every third column: nearest neighbour would give only 0 and 240
    write_pair(tmp_path, mask, mask)
    settings = preparation(size=(32, 32), interpolation=interpolation)
    item = prepare(*folder_sample(tmp_path, mask_kind="soft"), settings)
    np.testing.assert_array_equal(item.mask, resize_image(mask, 32, 32, interpolation))
    if interpolation == "area":
        assert (item.mask == 80).all()


def test_void_pixels_are_kept_when_resizing(tmp_path):
    mask = np.zeros((64, 64), np.uint8)
    mask[10:40] = 1
    mask[40:] = 9
    write_pair(tmp_path, mask, mask)
    options = {"labels": {"0": "background", "1": "a"}, "ignore": ["9"]}
    item = prepare(*folder_sample(tmp_path, options=options), SMALL)
    assert np.unique(item.mask).tolist() == [0, 1, 255]
    assert (item.mask[20:] == 255).all()


def test_a_mask_one_pixel_off_is_refused_where_sizes_vary(tmp_path):
    write_pair(tmp_path, np.zeros((64, 64), np.uint8), np.zeros((64, 65), np.uint8))
    with pytest.raises(RawDataError, match="65x64 pixels"):
        prepare(*folder_sample(tmp_path, mask_kind="soft"), SMALL)
