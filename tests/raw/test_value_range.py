import cv2
import numpy as np
import pytest

from pipeline.raw.value_range import (
    ImageValues,
    image_values,
    merge_values,
    narrow_range,
    narrow_range_warning,
    unlike,
)
from pipeline.shards.prepare import normalization
from pipeline.shards.recipes import Normalize

RNG = np.random.default_rng(3)


def scene(low=0, high=255, dtype=np.uint8, channels=1, seed=0):
    """Return smooth content whose values fill a range."""
    smooth = cv2.GaussianBlur(np.random.default_rng(seed).random((96, 128)), (0, 0), 4)
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    return np.repeat((low + smooth * (high - low)).astype(dtype)[:, :, None], channels, axis=2)


def with_pixels(pixels, value, rows=slice(40, 41), columns=slice(50, 51)):
    changed = pixels.copy()
    changed[rows, columns] = value
    return changed


def disc(background, value, radius=2):
    changed = background.copy()
    cv2.circle(changed, (60, 40), radius, value, -1)
    return changed


def noise(mean, deviation, dtype):
    return RNG.normal(mean, deviation, (96, 128, 1)).clip(0).astype(dtype)


def values(pixels, method="minmax"):
    return image_values(pixels, *normalization(pixels, Normalize(method=method)), method)


NARROW = {
    "one hot pixel": (with_pixels(scene(10, 460, np.uint16), 65535), "minmax"),
    "one hot pixel in one channel": (with_pixels(scene(10, 460, np.uint16, channels=3), [9, 65535, 9]), "minmax"),
    "one dead pixel": (with_pixels(scene(60000, 61000, np.uint16), 0), "minmax"),
    "hot line": (with_pixels(scene(10, 460, np.uint16), 65535, columns=slice(0, 50)), "minmax"),
    "hot pixel beside an even background": (
        with_pixels(with_pixels(scene(10, 460, np.uint16), 0, slice(0, 60), slice(None)), 65535, slice(80, 81)),
        "minmax",
    ),
    "scale bar": (with_pixels(scene(10, 460, np.uint16), 65535, slice(90, 93), slice(5, 25)), "minmax"),
    "float outlier": (with_pixels(scene(-1, 1, np.float32), -3.4e38), "minmax"),
    "8 bits": (with_pixels(scene(3, 13), 255), "minmax"),
    "10 bits in 16": (scene(0, 1023, np.uint16), "unit"),
    "signed values with an offset": (scene(32000, 34000, np.uint16), "symmetric"),
    "values 0 and 1": (scene(0, 2), "standard"),
}
WIDE = {
    "a scene": (scene(), "minmax"),
    "a low-contrast scene": (scene(1000, 1010, np.uint16), "minmax"),
    "12 bits that are used": (scene(0, 4095, np.uint16), "minmax"),
    "blank": (np.full((40, 50, 3), 7, np.uint8), "minmax"),
    "blank over the full range": (np.full((40, 50, 3), 7, np.uint8), "unit"),
    "one star on black": (with_pixels(np.zeros((96, 128, 1), np.uint8), 255), "minmax"),
    "a disc on black": (disc(np.zeros((96, 128, 1), np.uint8), 255), "unit"),
    "cells in noise": (disc(noise(100, 10, np.uint16), 60000), "minmax"),
    "cells in weak noise": (disc(noise(3, 0.4, np.uint8), 255), "minmax"),
}


@pytest.mark.parametrize(("pixels", "method"), NARROW.values(), ids=NARROW)
def test_outliers_and_unused_bits_narrow_the_range(pixels, method):
    assert f"`normalize: {method}`" in narrow_range(pixels, method)


@pytest.mark.parametrize(("pixels", "method"), WIDE.values(), ids=WIDE)
def test_blank_images_and_few_objects_are_not_narrow(pixels, method):
    assert narrow_range(pixels, method) is None


def test_fixed_ranges_warn_only_where_many_images_are_narrow():
    narrow = {f"{index}.png": "text" for index in range(5)}
    assert narrow_range_warning(narrow, 60, "unit") is None
    assert narrow_range_warning(narrow, 50, "unit")[0].startswith("5 of 50 images")
    warning = "; ".join(narrow_range_warning(narrow, 1000, "minmax"))
    assert "2.png" in warning
    assert "3.png" not in warning
    assert narrow_range_warning({}, 0, "minmax") is None


def test_values_are_those_after_the_normalization():
    pixels = scene(0, 4095, np.uint16)
    found = values(pixels, "symmetric")
    assert (found.dtypes, found.unused_bits) == (("uint16",), (4, 4))
    normalized = pixels / 65535 * 2 - 1
    expected = [np.percentile(normalized, 0.5), normalized.mean(), np.percentile(normalized, 99.5)]
    np.testing.assert_allclose([found.low, found.mean, found.high], expected, atol=2e-4)
    assert ImageValues.model_validate(found.plain()) == found


def test_large_images_are_sampled():
    pixels = cv2.resize(scene(channels=3), (1200, 1000))
    found = values(pixels)
    expected = [np.percentile(pixels / 255, 0.5), (pixels / 255).mean(), np.percentile(pixels / 255, 99.5)]
    np.testing.assert_allclose([found.low, found.mean, found.high], expected, atol=0.01)


def test_merged_values_cover_images_of_several_types():
    dark, bright = values(scene(0, 4095, np.uint16), "unit"), values(scene(), "unit")
    merged = merge_values([merge_values([dark, dark]), bright])
    assert (merged.dtypes, merged.unused_bits, merged.images) == (("uint16", "uint8"), (0, 4), 3)
    assert (merged.low, merged.high) == (min(dark.low, bright.low), max(dark.high, bright.high))
    assert merged.mean == pytest.approx((2 * dark.mean + bright.mean) / 3)
    assert unlike(dark, merged) is unlike(bright, merged) is None


TRAINED = {
    depth: lambda method, high=high, dtype=dtype: merge_values(
        [values(scene(0, high, dtype, seed=seed), method) for seed in range(6)]
    )
    for depth, high, dtype in (("8", 255, np.uint8), ("12 in 16", 4095, np.uint16), ("16", 65535, np.uint16))
}


@pytest.mark.parametrize(
    ("trained", "high", "dtype", "expected"),
    [
        ("8", 4095, np.uint16, "12-bit values in uint16"),
        ("16", 4095, np.uint16, "12-bit values in uint16"),
        ("12 in 16", 255, np.uint8, "8-bit values in uint8"),
        ("12 in 16", 65535, np.uint16, "16-bit values in uint16"),
        ("8", 65535, np.uint16, None),
        ("8", 255, np.uint8, None),
        ("8", 150, np.uint8, None),
        ("16", 40000, np.uint16, None),
        ("12 in 16", 3000, np.uint16, None),
    ],
)
def test_bit_depths_unlike_the_training_images(trained, high, dtype, expected):
    image = values(scene(0, high, dtype, seed=9), "unit")
    text = unlike(image, TRAINED[trained]("unit"))
    assert text is None if expected is None else expected in text
    if trained != "8" or high == 255:
        assert unlike(values(scene(0, high, dtype, seed=9)), TRAINED[trained]("minmax")) is None


@pytest.mark.parametrize(
    ("pixels", "method", "expected"),
    [
        (255 - scene(0, 60), "unit", "a mean of"),
        (with_pixels(scene(10, 460, np.uint16), 65535), "minmax", "a mean of"),
        (np.zeros((64, 64, 1), np.uint8), "unit", None),
    ],
)
def test_values_far_from_those_of_the_training_images(pixels, method, expected):
    trained = merge_values([values(scene(0, 200, seed=seed), method) for seed in range(6)])
    text = unlike(values(pixels, method), trained)
    assert text is None if expected is None else expected in text


def test_an_image_of_little_contrast_is_unlike_the_training_images():
    trained = merge_values([values(scene(seed=seed), "unit") for seed in range(6)])
    assert "spread over" in unlike(values(scene(120, 135), "unit"), trained)
