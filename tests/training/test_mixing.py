"""CutMix and mixup against slow versions in NumPy that draw the same numbers."""

import numpy as np
import pytest
import torch
from scipy.stats import beta

from pipeline.config.config import parse
from pipeline.core.errors import ConfigError
from pipeline.training.augment.augmentation import Augmentation
from pipeline.training.augment.options import Augment
from pipeline.training.data import Batch
from pipeline.training.losses import bce

COUNT, HEIGHT, WIDTH = 6, 14, 10


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(classes=2, weighted=True):
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.normal(size=(COUNT, 3, HEIGHT, WIDTH)).astype(np.float32))
    mask = torch.from_numpy(rng.integers(0, classes, (COUNT, 1, HEIGHT, WIDTH)))
    weight = torch.from_numpy((rng.random((COUNT, 1, HEIGHT, WIDTH)) * 2).astype(np.float32))
    weight[weight < 0.6] = 0
    return Batch(image, mask.float() if classes == 2 else mask, weight if weighted else None)


def mix(before, seed, **options):
    return Augmentation(None, Augment.model_validate(options))(before, generator(seed))


def draw(seed, alpha, probability):
    """Return partners, shares, whether to mix, and the generator for what follows."""
    rng = generator(seed)
    partners = torch.randperm(COUNT, generator=rng).numpy()
    share = beta.ppf(torch.rand(COUNT, generator=rng).double().numpy(), alpha, alpha)
    return partners, share, (torch.rand(COUNT, generator=rng) < probability).numpy(), rng


def planes_of(samples):
    return {name: getattr(samples, name) for name in ("image", "target", "weight")}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("classes", [2, 4])
def test_cutmix_pastes_boxes_of_image_mask_and_weight(seed, classes):
    before = batch(classes)
    after = mix(before, seed, cutmix={"alpha": 0.7, "probability": 0.8})
    partners, share, chosen, rng = draw(seed, 0.7, 0.8)
    y, x = (torch.randint(side, (COUNT,), generator=rng).numpy() for side in (HEIGHT, WIDTH))
    for name, plane in planes_of(before).items():
        expected = plane.numpy().copy()
        for row in range(COUNT):
            if not chosen[row]:
                continue
            height, width = (int(np.sqrt(1 - share[row]) * side) for side in (HEIGHT, WIDTH))
            top, left = y[row] - height // 2, x[row] - width // 2
            box = np.s_[:, max(0, top) : max(0, top + height), max(0, left) : max(0, left + width)]
            expected[row][box] = plane[partners[row]].numpy()[box]
        actual = getattr(after, name)
        assert actual.dtype == plane.dtype
        np.testing.assert_array_equal(actual.numpy(), expected)
    assert not torch.equal(after.target, before.target)


@pytest.mark.parametrize("seed", [2, 4, 5])
def test_mixup_blends_image_mask_and_weight(seed):
    before = batch()
    after = mix(before, seed, mixup={"alpha": 0.4, "probability": 0.8})
    partners, share, chosen, _ = draw(seed, 0.4, 0.8)
    for name, plane in planes_of(before).items():
        plane = plane.double().numpy()
        for row in range(COUNT):
            own, other, part = plane[row], plane[partners[row]], share[row] if chosen[row] else 1.0
            expected = part * own + (1 - part) * other
            if name == "weight" and part < 1:
                expected[(own == 0) | (other == 0)] = 0
            np.testing.assert_allclose(getattr(after, name)[row].numpy(), expected, rtol=1e-5, atol=1e-6)
    assert 0 < chosen.sum() < COUNT
    assert len(after.target.unique()) > 2


def test_cross_entropy_of_a_blend_is_the_blend_of_both():
    before = batch(weighted=False)
    after = mix(before, 0, mixup={})
    partners, share, _, _ = draw(0, 0.2, 1.0)
    output = torch.randn(COUNT, 1, HEIGHT, WIDTH, generator=generator(1), requires_grad=True)
    bce(output, after.target).backward()
    own, other = before.target, before.target[partners]
    part = torch.from_numpy(share).float()[:, None, None, None]
    expected = output.detach().clone().requires_grad_()
    losses = [torch.nn.functional.softplus(expected) - expected * target for target in (own, other)]
    (part * losses[0] + (1 - part) * losses[1]).mean().backward()
    torch.testing.assert_close(output.grad, expected.grad)


def test_samples_without_weight_keep_none():
    after = mix(batch(weighted=False), 0, cutmix={}, mixup={})
    assert after.weight is None
    assert after.image.is_contiguous(memory_format=torch.channels_last)


def experiment(classes=2, **changes):
    labels = {str(value): f"class-{value}" for value in range(classes)}
    data = {"layout": "folder", "images": "i", "masks": "m", "root": "raw", "size": [48, 48], "labels": labels}
    settings = {"dataset": "d", "model": "unet", "loss": "cross-entropy", "optimizer": {"name": "sgd", "lr": 0.1}}
    return parse({"datasets": {"d": data}, "experiments": {"e": {**settings, "batch_size": 2, "epochs": 1, **changes}}})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"augment": {"mixup": {}}, "loss": "lovasz"}, "choose another loss, or `cutmix`, which keeps masks hard"),
        (
            {"augment": {"mixup": {}}, "stages": [{"epochs": 1, "loss": "lovasz-softmax"}]},
            "with `mixup` a loss for soft",
        ),
        ({"augment": {"mixup": {}, "cutmix": {}}, "batch_size": 1}, "raise it, or remove `cutmix` and `mixup`"),
        ({"augment": {"mixup": {"alpha": 0}}}, "alpha"),
        ({"augment": {"mixup": {}}, "classes": 3}, "use `cutmix`, which keeps classes"),
    ],
)
def test_samples_that_cannot_be_mixed_are_refused(changes, message):
    with pytest.raises(ConfigError) as caught:
        experiment(**changes)
    assert message in str(caught.value)


def test_mixing_adds_nothing_to_recipes_without_it():
    assert Augment(flip="both").plain() == {"flip": "both"}
    module = "pipeline.training.augment.mixing"
    assert Augment(mixup={}).modules() == Augment(cutmix={}).modules() == {module}
    assert module not in Augment(flip="both").modules()
