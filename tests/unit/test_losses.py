import math

import pytest
import torch

from pipeline.training.losses import (
    ACTIVATIONS,
    LOSSES,
    OUTPUT_CHANNELS,
    activate,
    bce,
    bce_dice,
    cross_entropy,
    dice,
    mse,
)

OUTPUT = torch.tensor([[[[0.0, 2.0], [-1.0, 3.0]]]])
TARGET = torch.tensor([[[[0.0, 1.0], [1.0, 1.0]]]])


def output_for(name, output=OUTPUT):
    """Give the output that a loss wants: for two channels, background logits of 0."""
    return torch.cat([torch.zeros_like(output), output], dim=1) if OUTPUT_CHANNELS[name] == 2 else output


P = [1 / (1 + math.exp(-v)) for v in (0.0, 2.0, -1.0, 3.0)]


def test_values_by_hand():
    assert float(mse(OUTPUT, TARGET)) == pytest.approx((0 + 1 + 4 + 4) / 4)
    expected = -sum(math.log(p if t else 1 - p) for p, t in zip(P, (0, 1, 1, 1), strict=True)) / 4
    assert float(bce(OUTPUT, TARGET)) == pytest.approx(expected, rel=1e-5)
    overlap = P[1] + P[2] + P[3]
    assert float(dice(OUTPUT, TARGET)) == pytest.approx(1 - (2 * overlap + 1) / (sum(P) + 3 + 1), rel=1e-5)
    assert float(bce_dice(OUTPUT, TARGET)) == pytest.approx(float(bce(OUTPUT, TARGET) + dice(OUTPUT, TARGET)))


@pytest.mark.parametrize("name", LOSSES)
def test_what_lies_outside_the_field_of_view_does_not_count(name):
    weight = torch.tensor([[[[1.0, 1.0], [1.0, 0.0]]]])
    elsewhere, wrong = OUTPUT.clone(), TARGET.clone()
    elsewhere[..., 1, 1], wrong[..., 1, 1] = -50.0, 0.0
    loss = LOSSES[name]
    output, elsewhere = output_for(name), output_for(name, elsewhere)
    assert float(loss(output, TARGET, weight)) == pytest.approx(float(loss(elsewhere, wrong, weight)))
    assert float(loss(output, TARGET, weight)) != pytest.approx(float(loss(output, TARGET)))
    assert float(loss(output, TARGET, torch.ones_like(TARGET))) == pytest.approx(float(loss(output, TARGET)))


def test_cross_entropy_of_two_channels_is_bce_of_their_difference():
    two = output_for("cross-entropy")
    assert float(cross_entropy(two, TARGET)) == pytest.approx(float(bce(OUTPUT, TARGET)))
    torch.testing.assert_close(activate(two + 3.0, "softmax"), torch.sigmoid(OUTPUT))


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_that_counts_costs_nothing_that_is_not_a_number(name):
    value = LOSSES[name](output_for(name), TARGET, torch.zeros_like(TARGET))
    assert math.isfinite(float(value))


@pytest.mark.parametrize("name", LOSSES)
def test_each_loss_names_its_output(name):
    output = torch.tensor([-2.0, 0.25, 3.0]).view(1, 1, 1, 3)
    probability = activate(output_for(name, output), ACTIVATIONS[name])
    assert probability.min() >= 0
    assert probability.max() <= 1
    if name == "mse":
        assert probability.flatten().tolist() == [0.0, 0.25, 1.0]
    else:
        torch.testing.assert_close(probability, torch.sigmoid(output))
