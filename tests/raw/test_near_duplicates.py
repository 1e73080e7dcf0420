"""Near-duplicates in different splits are reported, other images are not."""

import io

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sources import checked
from toy_layout import TOY, add, toy_image

from pipeline.raw.check.near_duplicates import (
    MAX_CONTRAST_FRACTION,
    MAX_DIFFERENCE,
    find_near_duplicates,
    grey_thumbnail,
)
from pipeline.raw.decode.image import decode


def as_jpeg(pixels, quality):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return decode(buffer.getvalue(), "x.jpg")


@pytest.fixture
def toys(tmp_path):
    for index, name in enumerate(["a", "b", "c", "t1", "t2"]):
        add(tmp_path / "toy", name, *toy_image(index))
    return tmp_path / "toy"


def findings(root):
    report = checked(TOY, root, test="official")
    assert (report["errors"], report["leak"]) == (0, 0)
    return [(row["severity"], row["kind"], row["count"], row["found"]) for row in report["findings"]]


@pytest.mark.parametrize("quality", [95, 75])
def test_resaved_copy_in_another_split_is_a_warning(toys, quality):
    pixels, mask = toy_image(1)
    add(toys, "t9", as_jpeg(pixels, quality), mask)
    ((severity, kind, count, found),) = findings(toys)
    assert (severity, kind, count) == ("warning", "near-duplicate", 2)
    assert "b in train ~ t9 in test" in found


def test_resized_copy_is_found(toys):
    scene = cv2.resize(np.random.default_rng(0).integers(0, 256, (5, 5, 3), dtype=np.uint8), (72, 64))
    add(toys, "d", scene, toy_image(5)[1])
    add(toys, "t8", cv2.resize(scene, (144, 128)), np.zeros((128, 144), np.uint8))
    ((_, kind, count, found),) = findings(toys)
    assert (kind, count) == ("near-duplicate", 2)
    assert "d in train ~ t8 in test" in found


def test_resaved_copies_in_one_split_are_not_reported(toys):
    pixels, mask = toy_image(1)
    add(toys, "b2", as_jpeg(pixels, 90), mask)
    assert findings(toys) == []


def test_series_are_counted_and_the_first_pairs_listed(toys):
    rng = np.random.default_rng(0)
    for index in range(5):
        scene = cv2.resize(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8), (72, 64))
        for prefix in ("s", "t-s"):
            noisy = np.clip(scene + rng.normal(0, 2, scene.shape), 0, 255).astype(np.uint8)
            add(toys, f"{prefix}{index}", noisy, toy_image(index)[1])
    ((_, kind, count, found),) = findings(toys)
    assert (kind, count) == ("near-duplicate", 10)
    assert "s0 in train ~ t-s0 in test; " in found
    assert found.endswith("and 2 more pairs")


def test_low_contrast_images_are_not_near_duplicates():
    flat = [np.full((64, 64, 3), level, np.uint8) for level in (80, 80, 81)]
    rng = np.random.default_rng(0)
    coarse = [np.kron(rng.integers(100, 103, (16, 16, 1)).astype(np.uint8), np.ones((4, 4, 3), np.uint8)) for _ in "ab"]
    thumbnails = [grey_thumbnail(image) for image in (*flat, *coarse)]
    assert find_near_duplicates(thumbnails, range(5)) == {}
    assert find_near_duplicates([], []) == {}


@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(2, 30),
    noise=st.sampled_from([0, 0.1, 0.5, 1, 3]),
    groups=st.integers(1, 4),
)
def test_near_duplicates_are_those_of_exhaustive_search(seed, count, noise, groups):
    rng = np.random.default_rng(seed)
    scenes = 100 + rng.choice([2, 5, 140], (3, 1, 1)) * rng.uniform(-1, 1, (3, 16, 16))
    changes = rng.normal(0, noise, (count, 16, 16)) + rng.uniform(-noise, noise, (count, 1, 1))
    thumbnails = (scenes[rng.integers(3, size=count)] + changes).astype(np.float16)
    group = rng.integers(groups, size=count)
    pixels = thumbnails.astype(np.float64).reshape(count, -1)
    rms = np.sqrt(((pixels[:, None] - pixels[None]) ** 2).mean(axis=2))
    contrast = pixels.std(axis=1)
    allowed = np.minimum(MAX_DIFFERENCE, MAX_CONTRAST_FRACTION * np.minimum(contrast[:, None], contrast[None]))
    apart = group[:, None] != group[None]
    required, allowed_pairs = (apart & (rms <= allowed + slack) for slack in (-1e-4, 1e-4))
    partners = find_near_duplicates(list(thumbnails), group.tolist())
    assert set(np.flatnonzero(required.any(axis=1))) <= partners.keys()
    assert all(allowed_pairs[first, second] for first, second in partners.items())
