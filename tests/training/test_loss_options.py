"""Focal, Tversky and clDice losses against their formulas, and which options a loss has."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from pipeline.training.losses import bce, choose_loss, dice
from pipeline.training.recipes import LossFunction, TrainRecipe

RNG = torch.Generator().manual_seed(5)
LOGITS = 2 * torch.randn(2, 1, 12, 9, generator=RNG)
MASK = (functional.avg_pool2d(torch.rand(2, 1, 14, 11, generator=RNG), 3, 1) < 0.5).float()
WEIGHT = (torch.rand(2, 1, 12, 9, generator=RNG) < 0.8).float()


def loss(name, output=LOGITS, target=MASK, weight=WEIGHT, **options):
    return float(choose_loss(LossFunction(name=name, **options)).function(output, target, weight))


@pytest.mark.parametrize(("options", "gamma", "alpha"), [({}, 2, 0.25), ({"gamma": 0.5, "alpha": 0.9}, 0.5, 0.9)])
def test_focal_is_the_formula_of_the_paper(options, gamma, alpha):
    p, y = 1 / (1 + np.exp(-LOGITS.double().numpy())), MASK.numpy()
    right, factor = np.where(y == 1, p, 1 - p), np.where(y == 1, alpha, 1 - alpha)
    expected = np.average(-factor * (1 - right) ** gamma * np.log(right), weights=WEIGHT.numpy())
    assert loss("focal", **options) == pytest.approx(expected, rel=1e-5)
    assert loss("focal", gamma=0, alpha=0.5) == pytest.approx(float(bce(LOGITS, MASK, WEIGHT)) / 2)


def test_focal_and_its_gradient_are_finite_for_certain_errors():
    output = torch.tensor([-200.0, 200.0, 0.0, 200.0]).view(1, 1, 2, 2).requires_grad_()
    value = choose_loss(LossFunction(name="focal")).function(output, torch.tensor([[[[1.0, 0.0], [1.0, 1.0]]]]), None)
    value.backward()
    assert value.isfinite()
    assert output.grad.flatten().tolist()[:2] == pytest.approx([-0.25 / 4, 0.75 / 4])


@pytest.mark.parametrize(("options", "alpha", "beta"), [({}, 0.3, 0.7), ({"alpha": 1.0, "beta": 0.2}, 1.0, 0.2)])
def test_tversky_weighs_both_kinds_of_errors(options, alpha, beta):
    p, y, keep = 1 / (1 + np.exp(-LOGITS.double().numpy())), MASK.numpy(), WEIGHT.numpy()
    tp, fp, fn = ((keep * part).sum() for part in (p * y, p * (1 - y), (1 - p) * y))
    assert loss("tversky", **options) == pytest.approx(1 - (tp + 0.5) / (tp + alpha * fp + beta * fn + 0.5), rel=1e-5)
    assert loss("tversky", alpha=0.5, beta=0.5) == pytest.approx(float(dice(LOGITS, MASK, WEIGHT)))


def reference_skeleton(image, iterations):
    """Return the soft skeleton as the code of the paper computes it, with pooling: alg. 1."""

    def erode(x):
        return torch.min(-functional.max_pool2d(-x, (3, 1), 1, (1, 0)), -functional.max_pool2d(-x, (1, 3), 1, (0, 1)))

    def rest(x):
        return functional.relu(x - functional.max_pool2d(erode(x), 3, 1, 1))

    skeleton = rest(image)
    for _ in range(iterations):
        image = erode(image)
        skeleton = skeleton + functional.relu(rest(image) - skeleton * rest(image))
    return skeleton


@pytest.mark.parametrize(("options", "alpha", "iterations"), [({}, 0.5, 3), ({"alpha": 0.8, "iterations": 1}, 0.8, 1)])
def test_cldice_is_that_of_the_paper(options, alpha, iterations):
    outputs = [LOGITS.clone().requires_grad_() for _ in range(2)]
    p, y = torch.sigmoid(outputs[0]) * WEIGHT, MASK * WEIGHT
    predicted, true = reference_skeleton(p, iterations), reference_skeleton(y, iterations)
    precision = ((predicted * y).sum() + 1) / (predicted.sum() + 1)
    sensitivity = ((true * p).sum() + 1) / (true.sum() + 1)
    centre = 1 - 2 * precision * sensitivity / (precision + sensitivity)
    expected = (1 - alpha) * dice(outputs[0], MASK, WEIGHT) + alpha * centre
    value = choose_loss(LossFunction(name="cldice", **options)).function(outputs[1], MASK, WEIGHT)
    torch.testing.assert_close(value, expected)
    (value + expected).backward()
    torch.testing.assert_close(outputs[1].grad * WEIGHT, outputs[0].grad * WEIGHT, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "dice", "gamma": 2.0}, "no `gamma`.*dice does not have.*or choose the loss focal"),
        ({"name": "focal", "beta": 0.5, "iterations": 2}, "no `iterations` and `beta`.*remove"),
        ({"name": "tversky", "class_balance": True}, "tversky has no pixel weights"),
        ({"name": "cldice", "alpha": 1.5}, "less than or equal to 1"),
    ],
)
def test_options_that_a_loss_does_not_have_are_refused(settings, message):
    recipe = {"dataset": "d", "model": "unet", "optimizer": {"name": "adam", "lr": 0.1}, "batch_size": 1, "epochs": 1}
    with pytest.raises(ValueError, match=message):
        TrainRecipe.model_validate({**recipe, "loss": settings})


def test_settings_record_options_of_their_loss_only():
    assert LossFunction(name="focal").plain() == {"name": "focal", "gamma": 2.0, "alpha": 0.25}
    assert LossFunction.model_validate({"name": "cldice", "alpha": None}).options() == {"alpha": 0.5, "iterations": 3}
    assert LossFunction(name="bce").plain() == {"name": "bce"}
