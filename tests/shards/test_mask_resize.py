import cv2
import numpy as np
import pytest
from sources import opened, preparation

from pipeline.core.counts import VOID
from pipeline.shards.masks import resize_mask
from pipeline.shards.prepare import prepare

RNG = np.random.default_rng(2)


def blobs(height, width, classes=2, seed=0):
    """Return smooth regions of several classes, and thin lines of class 1."""
    smooth = [
        cv2.GaussianBlur(np.random.default_rng((seed, index)).random((height, width)), (0, 0), 5)
        for index in range(classes)
    ]
    mask = np.argmax(smooth, axis=0).astype(np.uint8)
    for row in range(7, height, 23):
        cv2.line(mask, (0, row), (width, row + 31), 1, 1)
    return mask


def centre(mask):
    """Return the centre of the foreground, as a fraction of height and width."""
    return (np.argwhere(mask == 1).mean(axis=0) + 0.5) / mask.shape


def test_nearest_takes_the_pixel_at_the_centre():
    mask = RNG.choice([0, 1, 7], (33, 21)).astype(np.uint8)
    rows = np.floor((np.arange(57) + 0.5) * 33 / 57).astype(int)
    columns = np.floor((np.arange(50) + 0.5) * 21 / 50).astype(int)
    np.testing.assert_array_equal(resize_mask(mask, 57, 50, "nearest"), mask[np.ix_(rows, columns)])


@pytest.mark.parametrize("size", [(256, 256), (128, 128), (341, 341), (384, 512), (200, 300), (768, 700)])
def test_area_does_not_shift(size):
    errors = []
    for _ in range(20):
        mask = np.zeros((512, 512), np.uint8)
        cv2.circle(mask, RNG.integers(120, 390, 2).tolist(), int(RNG.integers(8, 90)), 1, -1)
        errors.append((centre(resize_mask(mask, *size, "area")) - centre(mask)) * 512)
    assert np.abs(np.mean(errors, axis=0)).max() < 0.1
    assert np.abs(errors).max() < 0.5


def test_nearest_shifts_by_half_a_pixel_at_factor_two():
    mask = np.zeros((512, 512), np.uint8)
    cv2.circle(mask, (250, 260), 40, 1, -1)
    shift = (centre(resize_mask(mask, 256, 256, "nearest")) - centre(mask)) * 512
    np.testing.assert_allclose(shift, -0.5, atol=0.1)


@pytest.mark.parametrize("size", [(64, 96), (48, 48), (100, 70), (63, 97), (255, 383), (128, 400), (300, 500)])
@pytest.mark.parametrize("classes", [2, 4])
def test_area_keeps_the_share_of_each_class(size, classes):
    mask = blobs(256, 384, classes)
    mask[:9, :9] = VOID
    resized = resize_mask(mask, *size, "area")
    for value in np.unique(mask):
        share, pixels = (mask == value).mean(), np.count_nonzero(resized == value)
        assert pixels / resized.size == pytest.approx(share, rel=0.05, abs=0.002)
    assert set(np.unique(resized)) == set(np.unique(mask))


@pytest.mark.parametrize("size", [(128, 192), (100, 131), (86, 128), (300, 500)])
@pytest.mark.parametrize("turn", [np.flipud, np.fliplr, np.rot90])
def test_area_commutes_with_flips_and_rotations(size, turn):
    mask = blobs(256, 384, 3)
    turned_size = size[::-1] if turn is np.rot90 else size
    turned = resize_mask(np.ascontiguousarray(turn(mask)), *turned_size, "area")
    expected = turn(resize_mask(mask, *size, "area"))
    assert (turned != expected).mean() < (0.001 if turn is np.rot90 else 1e-9)


@pytest.mark.parametrize("size", [(256, 384), (257, 385), (300, 450), (511, 767)])
def test_masks_that_grow_come_back_unchanged(size):
    mask = blobs(256, 384, 3)
    grown = resize_mask(mask, *size, "area")
    np.testing.assert_array_equal(resize_mask(grown, 256, 384, "nearest"), mask)


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_area_keeps_small_objects_and_thin_lines(factor):
    mask = np.zeros((240, 240), np.uint8)
    mask[100, 100] = 1
    assert np.argwhere(resize_mask(mask, 240 // factor, 240 // factor, "area") == 1).tolist() == [[100 // factor] * 2]
    mask[:, 60:63] = 1
    small = resize_mask(mask, 240 // factor, 240 // factor, "area")
    assert small.any(axis=1).all()


def test_area_keeps_more_of_a_mask_than_nearest():
    """Of thin structures more comes back from half the size, with the same share of the foreground."""
    mask, overlaps = blobs(256, 384), {}
    for method in ("nearest", "area"):
        back = resize_mask(resize_mask(mask, 128, 192, method), *mask.shape, "nearest")
        overlaps[method] = 2 * np.count_nonzero(back & mask) / (back.sum() + mask.sum())
    assert overlaps["area"] > overlaps["nearest"]


@pytest.mark.parametrize("value", [0, 1, VOID])
def test_constant_masks_stay_constant(value):
    assert (resize_mask(np.full((90, 70), value, np.uint8), 32, 48, "area") == value).all()


@pytest.mark.parametrize("method", ["nearest", "area"])
def test_the_option_of_the_data_set_chooses_how_masks_are_resized(tmp_path, method):
    mask = blobs(64, 64) * np.uint8(255)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "a.png"), mask)
    raw = opened("d", "folder", tmp_path)
    item = prepare(raw, raw.splits["train"][0], preparation(size=(32, 32), mask_resize=method))
    np.testing.assert_array_equal(item.mask, resize_mask(mask // 255, 32, 32, method))


def weights(size, new_size):
    """Return the weights (new_size, size) of source pixels: 2 where the coarser pixel contains the finer centre."""
    coarse, fine = sorted((size, new_size))
    matrix = np.zeros((coarse, fine), dtype=np.int64)
    for position in range(fine):
        cell, rest = divmod((2 * position + 1) * coarse, 2 * fine)
        for index in {cell, cell - (rest == 0)}:
            matrix[index, position] = 2 if rest else 1
    return matrix if size > new_size else matrix.T


def resized_plainly(mask, height, width):
    """Resize by the rule of `_resize_by_area`, on whole arrays of all classes."""
    rows, columns = weights(mask.shape[0], height), weights(mask.shape[1], width)
    totals = np.outer(rows.sum(axis=1), columns.sum(axis=1))
    counts = np.bincount(mask.ravel(), minlength=256)
    *rarer, commonest = sorted(np.flatnonzero(counts).tolist(), key=lambda value: int(counts[value]))
    resized = np.full((height, width), commonest, dtype=np.uint8)
    free = np.ones(resized.shape, dtype=bool)
    fractions = [rows @ (mask == value) @ columns.T / totals for value in rarer]
    for value, fraction in zip(rarer, fractions, strict=True):
        target = max(1, round(counts[value] / mask.size * resized.size)) - np.count_nonzero(fraction == 1)
        score = fraction + 1e-6 * cv2.blur(fraction, (3, 3)).round(9)
        candidates = free & (fraction > 0) & (fraction < 1)
        chosen = np.zeros_like(free)
        if target > 0 and candidates.any():
            level = np.sort(score[candidates])[::-1][:target][-1]
            above, from_level = candidates & (score > level), candidates & (score >= level)
            chosen = above if above.any() and 2 * target < above.sum() + from_level.sum() else from_level
        resized[chosen | (fraction == 1)] = value
        free &= ~(chosen | (fraction == 1))
    if len(rarer) > 1:
        without = free & (np.sum(fractions, axis=0) > 1 - 1e-9)
        resized[without] = np.array(rarer, dtype=np.uint8)[np.argmax(fractions, axis=0)[without]]
    return resized


@pytest.mark.parametrize("classes", [2, 3, 19])
def test_area_equals_the_rule_on_whole_arrays(classes):
    rng = np.random.default_rng(classes)
    for _ in range(40):
        height, width, new_height, new_width = (int(side) for side in rng.integers(1, 60, 4))
        coarse = rng.integers(0, classes, (1 + height // 5, 1 + width // 5)).astype(np.uint8)
        objects = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST)
        noise = rng.integers(0, classes, (height, width)).astype(np.uint8)
        for mask in (objects, noise):
            expected = resized_plainly(mask, new_height, new_width)
            np.testing.assert_array_equal(resize_mask(mask, new_height, new_width, "area"), expected)
