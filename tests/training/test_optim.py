"""Optimizers and schedules: what has weight decay, and the rates and validations of a published training run."""

import math
from pathlib import Path

import pytest
import torch
import yaml

from pipeline.models.networks import UNet
from pipeline.models.registry import build_model
from pipeline.training.optim import Schedule, build_optimizer
from pipeline.training.recipes import Adam, Cosine, Sgd, TrainRecipe

TUTORIALS = Path(__file__).parents[2] / "config/tutorials.yaml"

# the rates that document D prints, in millionths, after epochs 1, 11, 21, ..., 351 and 360 of the run of the lite
# network; those of the run of the full network, after epochs 1 to 321, are the same
PUBLISHED_RATES = (
    *(500, 998, 993, 984, 971, 954, 934, 911, 885, 855, 823, 788, 751, 712, 672, 630, 587, 544, 500, 456, 413, 370),
    *(328, 288, 249, 212, 177, 145, 115, 89, 66, 46, 29, 16, 7, 2, 0),
)


def tutorial(name):
    return TrainRecipe.model_validate({
        key: value
        for key, value in yaml.safe_load(TUTORIALS.read_text())["experiments"][name].items()
        if key in TrainRecipe.model_fields
    })  # fmt: skip


@pytest.mark.parametrize(("name", "count"), [("d-u2net-lite", 37), ("d-u2net", 33)])
def test_rates_and_validations_are_those_of_document_d(name, count):
    recipe = tutorial(name)
    validated = [epoch for epoch in range(1, recipe.epochs + 1) if recipe.validates(epoch)]
    assert validated == [*range(1, 360, 10), 360]
    steps = math.ceil(1_055 / recipe.batch_size)  # a tenth; the rates at the ends of epochs do not depend on it
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=recipe.optimizer.lr)
    schedule = Schedule(recipe.schedule, optimizer, recipe.epochs, steps)
    rates = []
    for epoch in range(1, recipe.epochs + 1):
        for _ in range(steps):
            optimizer.step()
            schedule.step()
        if epoch in validated:
            rates.append(f"{schedule.learning_rate:.6f}")
    assert rates[:count] == [f"{rate / 1e6:.6f}" for rate in PUBLISHED_RATES[:count]]


def test_document_d_trains_in_fp32_with_batches_of_32():
    published, smaller = tutorial("d-u2net-lite"), tutorial("d-u2net-lite-bf16")
    assert (published.batch_size, published.precision) == (32, "fp32")
    assert (smaller.batch_size, smaller.precision) == (16, "auto")
    assert smaller.changed(batch_size=32, precision="fp32") == published


@pytest.mark.parametrize(
    "options",
    [
        Sgd(name="sgd", lr=0.1, momentum=0.9, weight_decay=0.5),
        Adam(name="adam", lr=0.1, weight_decay=0.5),
        Adam(name="adamw", lr=0.1, weight_decay=0.5),
    ],
    ids=lambda options: options.name,
)
def test_biases_and_normalization_weights_do_not_decay(options):
    network = build_model(UNet(name="unet", width=2, depth=2), in_channels=3, out_channels=1)
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    optimizer = build_optimizer(network.parameters(), options)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    changed = {name for name, parameter in network.named_parameters() if not torch.equal(parameter, before[name])}
    assert changed == {name for name, tensor in before.items() if tensor.ndim == 4}
    assert all("weight" in name for name in changed)
    assert {"down.0.1.weight", "down.0.1.bias", "head.bias"} <= before.keys() - changed


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_eps_is_that_of_the_options(name):
    parameter = [torch.zeros(1, requires_grad=True)]
    assert build_optimizer(parameter, Adam(name=name, lr=0.1)).defaults["eps"] == 1e-8
    assert build_optimizer(parameter, Adam(name=name, lr=0.1, eps=1e-3)).defaults["eps"] == 1e-3


@pytest.mark.parametrize(
    ("options", "epochs"),
    [
        ({"validate_every": 3}, [1, 3, 6, 9, 10]),
        ({"validate_every": 3, "validate_from": 1}, [1, 4, 7, 10]),
        ({"validate_every": 3, "validate_from": 5}, [5, 8, 10]),
        ({"validate_from": 9}, [9, 10]),
    ],
)
def test_validations_are_counted_from_the_first(options, epochs):
    recipe = tutorial("a-drive").changed(epochs=10, **options)
    assert [epoch for epoch in range(1, 11) if recipe.validates(epoch)] == epochs


def test_warm_up_starts_at_the_given_factor():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    schedule = Schedule(Cosine(name="cosine", warmup=2, warmup_start=0.25), optimizer, epochs=4, steps=2)
    rates = []
    for _ in range(5):
        rates.append(schedule.learning_rate)
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.5, 0.875, 1.25, 1.625, 2.0])


def test_documents_b_and_e_predict_with_the_last_network():
    experiments = yaml.safe_load(TUTORIALS.read_text())["experiments"]
    last = {name for name, experiment in experiments.items() if experiment.get("predict_with") == "last"}
    assert last == {name for name in experiments if name[0] in "be"}
