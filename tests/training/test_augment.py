import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.training.augment.augmentation import Augmentation
from pipeline.training.augment.options import Augment
from pipeline.training.data import Batch

ALL_TRANSFORMS = {
    "flip": "both",
    "rot90": True,
    "rotate": 20,
    "shear": 10,
    "scale": (0.8, 1.25),
    "shift": 0.1,
    "elastic": {"grid": 3, "sigma": 4},
    "brightness": 0.1,
    "contrast": 0.2,
    "gamma": (0.7, 1.4),
}


def augmentation(crop=None, **options):
    return Augmentation(crop, Augment.model_validate(options))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(count=6, height=40, width=56, classes=False):
    """Return images that encode their coordinates, with the mask and weight of these coordinates."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    image = torch.stack([y, x, (y * x) % 7]).float()[None].repeat(count, 1, 1, 1) / 60
    target = ((y // 8 + x // 8) % (4 if classes else 2))[None, None].repeat(count, 1, 1, 1)
    weight = (x > 10).float()[None, None].repeat(count, 1, 1, 1)
    return Batch(image=image, target=target if classes else target.float(), weight=weight)


def test_default_options_change_nothing():
    before = batch()
    after = augmentation()(before, generator())
    torch.testing.assert_close(after.image, before.image)
    torch.testing.assert_close(after.target, before.target)


@pytest.mark.parametrize(
    "options",
    [{"crop": (24, 32)}, {"flip": "both"}, {"rot90": True, "crop": (32, 32)}, {"flip": "horizontal", "rot90": True}],
)
def test_image_mask_and_weight_are_transformed_together(options):
    before = batch()
    after = augmentation(**options)(before, generator(1))
    # the image encodes the source coordinates of each pixel
    y, x = (after.image[:, channel] * 60 for channel in (0, 1))
    y, x = y.round().long(), x.round().long()
    torch.testing.assert_close(after.target[:, 0], before.target[0, 0][y, x])
    torch.testing.assert_close(after.weight[:, 0], before.weight[0, 0][y, x])
    assert len({tuple(image.flatten().tolist()) for image in after.image}) > 1, (
        "samples have different generator numbers"
    )


@pytest.mark.parametrize("name", ["rotate", "shear", "scale", "shift", "elastic"])
def test_each_warp_moves_mask_and_image_equally(name):
    before = batch(height=64, width=64)
    after = augmentation(**{name: ALL_TRANSFORMS[name]})(before, generator(2))
    assert not torch.equal(after.image, before.image)
    y, x = (after.image[:, channel, 8:-8, 8:-8] * 60 for channel in (0, 1))
    inside = (y > 2) & (y < 61) & (x > 2) & (x < 61)  # reflected borders bend the ramps
    expected = before.target[0, 0][y.round().long().clamp(0, 63), x.round().long().clamp(0, 63)]
    agree = (after.target[:, 0, 8:-8, 8:-8] == expected)[inside].float().mean()
    assert agree > 0.97, "an untransformed mask would agree in about half of the pixels"


def test_scale_of_two_shows_half_of_the_image():
    before = batch(height=64, width=64)
    after = augmentation(scale=(2.0, 2.0))(before, generator())
    span = after.image[0, 1].max() - after.image[0, 1].min()
    assert float(span) == pytest.approx(31.5 / 60, abs=0.02)


def test_rotation_keeps_lengths():
    before = batch(height=64, width=64)
    after = augmentation(rotate=30)(before, generator(4))
    y, x = after.image[:, 0, 24:40, 24:40], after.image[:, 1, 24:40, 24:40]
    along = torch.hypot(y.diff(dim=-1).mean(dim=(1, 2)), x.diff(dim=-1).mean(dim=(1, 2))) * 60
    torch.testing.assert_close(along, torch.ones(6), atol=0.02, rtol=0)


def test_augmentation_keeps_class_indices_and_binary_weights():
    before = batch(classes=True)
    after = augmentation(crop=(32, 32), **ALL_TRANSFORMS)(before, generator(5))
    assert after.target.dtype == torch.int64
    assert set(after.target.unique().tolist()) <= {0, 1, 2, 3}
    assert set(after.weight.unique().tolist()) <= {0.0, 1.0}
    assert after.image.shape == (6, 3, 32, 32)
    assert after.image.is_contiguous(memory_format=torch.channels_last)
    assert torch.isfinite(after.image).all()


def test_only_soft_masks_are_interpolated():
    before = batch()
    hard, soft = (augmentation(rotate=20)(before, generator(), soft=soft).target for soft in (False, True))
    assert set(hard.unique().tolist()) == {0.0, 1.0}
    assert len(soft.unique()) > 10


def test_the_same_seed_gives_the_same_samples():
    augment = augmentation(crop=(32, 32), **ALL_TRANSFORMS)
    a, b, c = (augment(batch(), generator(seed)).image for seed in (7, 7, 8))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_rot90_keeps_the_shape_of_non_square_samples():
    after = augmentation(rot90=True)(batch(count=12), generator(9))
    assert after.image.shape[-2:] == (40, 56)
    assert not torch.equal(after.image, batch(count=12).image)


def test_intensity_transforms_change_only_the_image():
    before = batch()
    after = augmentation(brightness=0.2, contrast=0.3, gamma=(0.5, 2))(before, generator())
    assert not torch.allclose(after.image, before.image)
    assert torch.equal(after.target, before.target)
    flat = Batch(image=torch.zeros(2, 3, 32, 32), target=torch.zeros(2, 1, 32, 32), weight=None)
    assert torch.isfinite(augmentation(brightness=0.2, contrast=0.3, gamma=(0.5, 2))(flat, generator()).image).all()


def test_elastic_field_is_smooth_and_has_the_configured_sigma():
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    ramps = torch.stack([y, x])[None].repeat(64, 1, 1, 1)
    before = Batch(image=ramps, target=torch.zeros(64, 1, 96, 96), weight=None)
    after = augmentation(elastic={"grid": 3, "sigma": 5})(before, generator(1)).image
    moved = (after - ramps)[:, :, 44:52, 44:52]  # around the middle node, away from reflected borders
    assert float(moved.std()) == pytest.approx(5, rel=0.2)
    assert float((after - ramps)[:, :, 30:66, 30:66].diff(dim=-1).abs().max()) < 2.0


@given(st.integers(33, 70), st.integers(33, 70), st.integers(0, 1000))
def test_all_transforms_support_any_size(height, width, seed):
    after = augmentation(**ALL_TRANSFORMS)(batch(2, height, width), generator(seed))
    assert after.image.shape == (2, 3, height, width)
    assert np.isfinite(after.image.numpy()).all()


def test_a_sample_does_not_depend_on_the_rest_of_its_batch():
    augment = augmentation(rot90=True, flip="both", contrast=0.3, gamma=(0.7, 1.4))
    image = torch.rand(8, 3, 48, 48, generator=generator()).contiguous(memory_format=torch.channels_last)
    mask = image[:, :1].round()
    for seed in range(4):
        whole = augment(Batch(image, mask, None), generator(seed)).image
        for rows in (slice(0, 3), slice(3, 8)):
            part = augment(Batch(image[rows], mask[rows], None), generator(seed), False, rows, 8).image
            assert torch.equal(part, whole[rows])


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_placement_is_a_crop_flips_and_a_rotation(seed, channels_last):
    count, size, crop = 16, (40, 50), (32, 32)
    image = torch.rand(count, 2, *size, generator=generator())
    image = image.contiguous(memory_format=torch.channels_last) if channels_last else image
    placed = augmentation(crop, flip="both", rot90=True)(Batch(image, image[:, :1], None), generator(seed))
    rng = generator(seed)
    corners = [
        torch.randint(outer - inner + 1, (count,), generator=rng) for outer, inner in zip(size, crop, strict=True)
    ]
    mirrored = [torch.rand(count, generator=rng) < 0.5 for _ in "xy"]
    turns = torch.randint(4, (count,), generator=rng)
    for row in range(count):
        top, left = (int(corner[row]) for corner in corners)
        expected = image[row, :, top : top + crop[0], left : left + crop[1]]
        expected = expected.flip([axis for axis, chosen in zip((-1, -2), mirrored, strict=True) if chosen[row]])
        expected = expected.rot90(int(turns[row]), (-2, -1))
        assert torch.equal(placed.image[row], expected)
        assert torch.equal(placed.target[row], expected[:1])
