"""Lovasz losses against their definition: the Jaccard loss of growing sets of the pixels with the largest errors."""

import numpy as np
import pytest
import torch

from pipeline.training.losses import LOSSES
from pipeline.training.recipes import TrainRecipe

RNG = torch.Generator().manual_seed(3)
LOGITS = torch.randn(3, 1, 4, 5, generator=RNG)
MASK = (torch.rand(3, 1, 4, 5, generator=RNG) < 0.4).float()
CLASS_LOGITS = torch.randn(3, 4, 4, 5, generator=RNG)
CLASSES = torch.randint(3, (3, 1, 4, 5), generator=RNG)  # no image contains the last class
WEIGHT = (torch.rand(3, 1, 4, 5, generator=RNG) < 0.7).float() * 2.5
WEIGHT[2] = 0.0  # an image without any pixel that counts


def jaccard_loss(foreground, wrong):
    """Return 1 - IoU if exactly the pixels in `wrong` are predicted wrongly: eq. 6."""
    union = foreground | wrong
    return len(wrong) / len(union) if union else 0.0


def extension(errors, foreground):
    """Return the Lovasz extension of the Jaccard loss of one image: eq. 8 and 9."""
    pixels = [int(index) for index in np.argsort(-errors, kind="stable")]
    objects = {int(index) for index in np.flatnonzero(foreground)}
    losses = [jaccard_loss(objects, set(pixels[:count])) for count in range(len(pixels) + 1)]
    return sum(max(0.0, errors[pixel]) * (losses[i + 1] - losses[i]) for i, pixel in enumerate(pixels))


def images(output, target, weight):
    """Yield (K, P) output and (P,) target of the pixels that count in each image with any."""
    for row in range(len(output)):
        keep = (weight[row] > 0).flatten()
        if keep.any():
            yield output[row].flatten(1)[:, keep].double().numpy(), target[row].flatten()[keep].numpy()


def hinge(output, target, weight):
    return np.mean([extension(1 - z[0] * (2 * y - 1), y) for z, y in images(output, target, weight)])


def softmax(output, target, weight):
    values = []
    for z, y in images(output, target, weight):
        p = np.exp(z) / np.exp(z).sum(axis=0)
        values.append(np.mean([extension(abs((y == k) - p[k]), y == k) for k in np.unique(y)]))
    return np.mean(values)


CASES = [("lovasz", hinge, LOGITS, MASK), ("lovasz-softmax", softmax, CLASS_LOGITS, CLASSES)]


@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize(("name", "definition", "output", "target"), CASES)
def test_value_and_gradient_are_those_of_the_definition(name, definition, output, target, weight):
    counts = torch.ones_like(WEIGHT) if weight is None else weight
    output = output.clone().requires_grad_()
    loss = LOSSES[name].function(output, target, weight)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(definition(output.detach(), target, counts), rel=1e-5)
    for position in [(0, 0, 1, 2), (1, 0, 3, 3), (1, output.shape[1] - 1, 0, 0), (2, 0, 2, 2)]:
        step = torch.zeros(output.shape, dtype=torch.float64)
        step[position] = 1e-6
        above, below = (definition(output.detach().double() + side, target, counts) for side in (step, -step))
        assert float(output.grad[position]) == pytest.approx((above - below) / 2e-6, abs=1e-5)


def test_certain_predictions_have_the_loss_one_minus_iou():
    predicted = torch.tensor([[0, 1, 1, 1], [0, 0, 2, 2]]).view(2, 1, 1, 4)
    target = torch.tensor([[0, 0, 1, 1], [0, 0, 2, 2]]).view(2, 1, 1, 4)
    output = 1e4 * torch.nn.functional.one_hot(predicted[:, 0], 3).permute(0, 3, 1, 2).float()
    # first image: IoU 1/2 of class 0, 2/3 of class 1; the second is right
    expected = ((1 - 1 / 2) + (1 - 2 / 3)) / 2 / 2
    assert float(LOSSES["lovasz-softmax"].function(output, target, None)) == pytest.approx(expected)


def test_the_loss_of_a_batch_is_the_mean_over_its_images():
    loss = LOSSES["lovasz"].function
    each = [float(loss(LOGITS[row : row + 1], MASK[row : row + 1], None)) for row in range(3)]
    assert float(loss(LOGITS, MASK, None)) == pytest.approx(np.mean(each))


@pytest.mark.parametrize("name", ["lovasz", "lovasz-softmax"])
def test_pixel_weights_are_refused_with_a_remedy(name):
    recipe = {"dataset": "d", "model": "unet", "optimizer": {"name": "adam", "lr": 0.1}, "batch_size": 1, "epochs": 1}
    with pytest.raises(ValueError, match=r"no pixel weights.*choose another loss"):
        TrainRecipe.model_validate({**recipe, "loss": {"name": name, "class_balance": True}})
