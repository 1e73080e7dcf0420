import math
from typing import get_args

import pytest
import torch

from pipeline.training.losses import (
    LOSSES,
    activate,
    bce,
    bce_dice,
    cross_entropy,
    cross_entropy_dice,
    dice,
    mse,
    softmax_bce,
    softmax_dice,
    supervise,
)
from pipeline.training.recipes import SOFTMAX_LOSSES, LossFunction, LossName

OUTPUT = torch.tensor([[[[0.0, 2.0], [-1.0, 3.0]]]])
TARGET = torch.tensor([[[[0.0, 1.0], [1.0, 1.0]]]])


def output_for(name, output=OUTPUT):
    """Return output with the channels of a loss; the background logits of two channels are 0."""
    return torch.cat([torch.zeros_like(output), output], dim=1) if LOSSES[name].channels(2) == 2 else output


P = [1 / (1 + math.exp(-v)) for v in (0.0, 2.0, -1.0, 3.0)]


def test_values_by_hand():
    assert float(mse(OUTPUT, TARGET)) == pytest.approx((0 + 1 + 4 + 4) / 4)
    expected = -sum(math.log(p if t else 1 - p) for p, t in zip(P, (0, 1, 1, 1), strict=True)) / 4
    assert float(bce(OUTPUT, TARGET)) == pytest.approx(expected, rel=1e-5)
    overlap = P[1] + P[2] + P[3]
    assert float(dice(OUTPUT, TARGET)) == pytest.approx(1 - (2 * overlap + 1) / (sum(P) + 3 + 1), rel=1e-5)
    assert float(bce_dice(OUTPUT, TARGET)) == pytest.approx(float(bce(OUTPUT, TARGET) + dice(OUTPUT, TARGET)))


@pytest.mark.parametrize("name", LOSSES)
def test_pixels_outside_the_field_of_view_have_no_loss(name):
    weight = torch.tensor([[[[1.0, 1.0], [1.0, 0.0]]]])
    elsewhere, wrong = OUTPUT.clone(), TARGET.clone()
    elsewhere[..., 1, 1], wrong[..., 1, 1] = -50.0, 0.0
    loss = LOSSES[name].function
    output, elsewhere = output_for(name), output_for(name, elsewhere)
    assert float(loss(output, TARGET, weight)) == pytest.approx(float(loss(elsewhere, wrong, weight)))
    assert float(loss(output, TARGET, weight)) != pytest.approx(float(loss(output, TARGET)))
    assert float(loss(output, TARGET, torch.ones_like(TARGET))) == pytest.approx(float(loss(output, TARGET)))


def test_two_channel_cross_entropy_equals_bce_of_the_difference():
    two = output_for("cross-entropy")
    assert float(cross_entropy(two, TARGET)) == pytest.approx(float(bce(OUTPUT, TARGET)))
    torch.testing.assert_close(activate(two + 3.0, "softmax"), torch.sigmoid(OUTPUT))


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_finite_if_no_pixel_counts(name):
    value = LOSSES[name].function(output_for(name), TARGET, torch.zeros_like(TARGET))
    assert math.isfinite(float(value))


@pytest.mark.parametrize("name", LOSSES)
def test_each_loss_has_a_valid_activation(name):
    output = torch.tensor([-2.0, 0.25, 3.0]).view(1, 1, 1, 3)
    probability = activate(output_for(name, output), LOSSES[name].activation)
    assert probability.min() >= 0
    assert probability.max() <= 1
    if name == "mse":
        assert probability.flatten().tolist() == [0.0, 0.25, 1.0]
    else:
        torch.testing.assert_close(probability, torch.sigmoid(output))


SOFTMAX = [name for name in LOSSES if LOSSES[name].activation == "softmax"]
LOGITS = torch.randn(2, 4, 5, 6, generator=torch.Generator().manual_seed(1))
CLASSES = torch.randint(4, (2, 1, 5, 6), generator=torch.Generator().manual_seed(2))


def test_several_classes_by_hand():
    probability = torch.softmax(LOGITS, dim=1)
    own = probability.gather(1, CLASSES)
    torch.testing.assert_close(cross_entropy(LOGITS, CLASSES), -own.log().mean())
    torch.testing.assert_close(cross_entropy(LOGITS, CLASSES), torch.nn.functional.cross_entropy(LOGITS, CLASSES[:, 0]))
    one_hot = torch.nn.functional.one_hot(CLASSES[:, 0], 4).permute(0, 3, 1, 2).float()
    torch.testing.assert_close(
        softmax_bce(LOGITS, CLASSES), torch.nn.functional.binary_cross_entropy(probability, one_hot)
    )
    each = [
        1 - (2 * (probability[:, k] * one_hot[:, k]).sum() + 1) / (probability[:, k].sum() + one_hot[:, k].sum() + 1)
        for k in (1, 2, 3)
    ]
    torch.testing.assert_close(softmax_dice(LOGITS, CLASSES), sum(each) / 3)
    both = cross_entropy(LOGITS, CLASSES) + softmax_dice(LOGITS, CLASSES)
    torch.testing.assert_close(cross_entropy_dice(LOGITS, CLASSES), both)


@pytest.mark.parametrize("name", SOFTMAX)
def test_multiclass_losses_ignore_void_pixels(name):
    weight = torch.ones(2, 1, 5, 6)
    weight[:, :, 2:4, 1:3] = 0
    elsewhere, wrong = LOGITS.clone(), CLASSES.clone()
    elsewhere[:, 1, 2:4, 1:3], wrong[:, :, 2:4, 1:3] = 40.0, 3
    loss = LOSSES[name].function
    torch.testing.assert_close(loss(LOGITS, CLASSES, weight), loss(elsewhere, wrong, weight))
    torch.testing.assert_close(loss(LOGITS, CLASSES, None), loss(LOGITS, CLASSES, torch.ones_like(weight)))


def test_a_pixel_of_weight_three_counts_as_three_pixels():
    output = torch.tensor([0.3, -1.2]).view(1, 1, 1, 2)
    target = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    repeated = bce(output[..., [0, 0, 0, 1]], target[..., [0, 0, 0, 1]])
    torch.testing.assert_close(bce(output, target, torch.tensor([3.0, 1.0]).view(1, 1, 1, 2)), repeated)


def test_only_softmax_losses_have_one_channel_per_class():
    assert LOSSES["cross-entropy"].channels(4) == 4
    assert LOSSES["bce"].channels(2) == 1


def test_deep_supervision_sums_the_loss_of_all_outputs():
    outputs = [OUTPUT, OUTPUT + 1, OUTPUT - 1]
    expected = sum(float(bce(output, TARGET)) for output in outputs)
    assert float(supervise(bce, outputs, TARGET, None)) == pytest.approx(expected)


def test_configuration_lists_all_losses():
    assert {*get_args(LossName)} - {"bce-with-logits"} == {*LOSSES}
    assert {*SOFTMAX} == SOFTMAX_LOSSES
    assert all(LossFunction(name=name).activation == loss.activation for name, loss in LOSSES.items())
