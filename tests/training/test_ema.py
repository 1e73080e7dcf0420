"""The moving average of the weights: its numbers, and that it is what a training run validates and saves."""

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.training import run as training
from pipeline.training.checkpoint import load_checkpoint
from pipeline.training.ema import WeightAverage, decay_after
from pipeline.training.recipes import TrainRecipe

RECIPE = {
    "dataset": "d",
    "model": {"name": "unet", "width": 4, "depth": 2},
    "loss": {"name": "bce", "region": "fov"},
    "optimizer": {"name": "sgd", "lr": 0.1},
    "batch_size": 3,
    "epochs": 2,
    "precision": "fp32",
    "threads": 1,
}


def run(shards, output, **changes):
    training.train(
        TrainRecipe.model_validate({**RECIPE, **changes}),
        experiment="e",
        train_shards=[shards / "train.h5"],
        validation_shards=[shards / "validation.h5"],
        output=output,
    )
    return load_checkpoint(output / "last.pt")


def averaged(states, decay):
    """Average weights of successive steps in float64, with the decay of `ModelEmaV3` in timm."""
    average = {name: tensor.double().numpy() for name, tensor in states[0].items()}
    for t, state in enumerate(states[1:], 1):
        d = min(decay, 1 - (1 + t) ** (-2 / 3))
        for name, tensor in state.items():
            counts = not tensor.is_floating_point()
            average[name] = tensor.numpy() if counts else d * average[name] + (1 - d) * tensor.double().numpy()
    return average


def weights_of(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def assert_close(actual, expected):
    for name, tensor in actual.items():
        np.testing.assert_allclose(tensor.numpy(), expected[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_decay_rises_from_0_to_its_limit():
    assert [decay_after(t, 0.9) for t in (0, 1, 7, 100)] == pytest.approx([0.0, 1 - 0.5 ** (2 / 3), 0.75, 0.9])


def test_average_has_weights_statistics_and_counters():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3))
    average, states = WeightAverage(network, 0.6), []
    for step in range(6):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter += torch.randn_like(parameter)
        network(torch.randn(2, 1, 5, 5) + step)
        average.update()
        states.append(weights_of(network))
    assert_close(average.network.state_dict(), averaged(states, 0.6))
    assert int(average.network[1].num_batches_tracked) == 6
    assert not any(parameter.requires_grad for parameter in average.network.parameters())
    resumed = WeightAverage(network, 0.6)
    resumed.load_state_dict(average.state_dict())
    for part in (average, resumed):
        part.update()
    assert_close(resumed.network.state_dict(), average.network.state_dict())


def test_training_validates_and_saves_the_average(shards, tmp_path, monkeypatch):
    states, validated, step, validate = [], [], training.TrainingStep.__call__, training.validate

    def after_step(self, *arguments):
        step(self, *arguments)
        states.append(weights_of(self._network))

    def record(network, *arguments):
        validated.append(weights_of(network))
        return validate(network, *arguments)

    monkeypatch.setattr(training.TrainingStep, "__call__", after_step)
    monkeypatch.setattr(training, "validate", record)
    last = run(shards, tmp_path / "m", ema=0.8)
    expected, per_epoch = averaged(states, 0.8), len(states) // 2
    assert_close(last.state, expected)
    assert_close(validated[1], expected)
    assert_close(validated[0], averaged(states[:per_epoch], 0.8))
    best = load_checkpoint(tmp_path / "m/best.pt")
    assert_close(best.state, averaged(states[: best.epoch * per_epoch], 0.8))
    assert not torch.allclose(last.state["head.weight"], states[-1]["head.weight"], rtol=1e-3)


def test_average_does_not_change_the_training_itself(shards, tmp_path):
    a, b = (run(shards, tmp_path / str(ema), epochs=1, ema=ema).scores for ema in (None, 0.8))
    assert a["train_loss"] == b["train_loss"]
    assert a["val_loss"] != b["val_loss"]


def test_average_of_a_frozen_encoder_is_the_encoder(shards, tmp_path):
    start = run(shards, tmp_path / "first", epochs=1).state
    init = {"checkpoint": str(tmp_path / "first/last.pt"), "layers": "encoder", "freeze": 2}
    frozen = run(shards, tmp_path / "frozen", init=init, ema=0.8).state
    encoder = [name for name in start if name.startswith("down.")]
    assert all(torch.equal(frozen[name], start[name]) for name in encoder)


@pytest.mark.parametrize("decay", [0, 1, -0.1, "high"])
def test_decay_that_averages_nothing_is_refused(decay):
    with pytest.raises(ValueError, match="ema"):
        TrainRecipe.model_validate({**RECIPE, "ema": decay})


def test_only_recipes_with_an_average_depend_on_it():
    plain, averaged = (TrainRecipe.model_validate({**RECIPE, **more}) for more in ({}, {"ema": 0.9}))
    assert "ema" not in plain.plain()
    assert averaged.modules() - plain.modules() == {"pipeline.training.ema"}
