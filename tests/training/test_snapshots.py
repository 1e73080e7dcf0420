"""Snapshot ensembles: the weights at the ends of cycles, and the mean of their probabilities."""

import numpy as np
import pytest
import torch
from untrained import checkpoint, load, network_of, probabilities

from pipeline.config.config import parse
from pipeline.core.errors import CheckpointError, ConfigError
from pipeline.prediction.recipes import Tiles
from pipeline.training import run as training
from pipeline.training.checkpoint import load_checkpoint, save_checkpoint
from pipeline.training.recipes import TrainRecipe

EXPERIMENT = {
    "dataset": "d",
    "model": {"name": "unet", "width": 4, "depth": 2},
    "loss": {"name": "bce", "region": "fov"},
    "optimizer": {"name": "sgd", "lr": 0.1},
    "schedule": {"name": "cosine", "cycles": 3},
    "snapshots": 2,
    "batch_size": 3,
    "epochs": 6,
}
RECIPE = {**EXPERIMENT, "precision": "fp32", "threads": 1}


@pytest.mark.parametrize("ema", [None, 0.8])
def test_last_cycles_are_kept_beside_the_last_weights(shards, tmp_path, monkeypatch, ema):
    weights, validate = [], training.validate

    def record(network, *arguments):
        weights.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
        return validate(network, *arguments)

    monkeypatch.setattr(training, "validate", record)
    training.train(
        TrainRecipe.model_validate({**RECIPE, "ema": ema}),
        experiment="e",
        train_shards=[shards / "train.h5"],
        validation_shards=[shards / "validation.h5"],
        output=tmp_path,
    )
    last, best = (load_checkpoint(tmp_path / name) for name in ("last.pt", "best.pt"))
    assert list(last.networks) == [4, 6]
    for epoch, state in last.networks.items():
        assert all(torch.equal(tensor, weights[epoch - 1][name]) for name, tensor in state.items())
    assert list(best.networks) == [best.epoch]


def test_snapshots_are_those_of_the_last_stage(shards, tmp_path):
    training.train(
        TrainRecipe.model_validate({**RECIPE, "epochs": 3, "stages": [{"epochs": 6}]}),
        experiment="e",
        train_shards=[shards / "train.h5"],
        validation_shards=[shards / "validation.h5"],
        output=tmp_path,
    )
    assert list(load_checkpoint(tmp_path / "last.pt").networks) == [7, 9]
    with pytest.raises(ValueError, match="at most the number of cycles"):
        TrainRecipe.model_validate({**RECIPE, "stages": [{"epochs": 6, "schedule": "constant"}]})


def snapshots_of(path, count=3, **options):
    """Save a checkpoint of several networks; return the checkpoint of each of them alone as well."""
    first, members = load_checkpoint(checkpoint(path, **options)), []
    for seed in range(count):
        torch.manual_seed(seed)
        members.append(path.with_name(f"{seed}.pt"))
        save_checkpoint(members[-1], first.info, network_of(first.info).state_dict())
    states = [load_checkpoint(member).state for member in members]
    save_checkpoint(path, first.info, states[-1], epoch=9, snapshots=dict(enumerate(states[:-1], 3)))
    return path, members


@pytest.mark.parametrize(
    ("options", "predict_options"),
    [
        ({}, {}),
        ({"classes": 3}, {"test_time": "flips"}),
        ({"name": "unet-original", "width": 4, "depth": 2}, {"tiles": {"size": [64, 64]}}),
        ({}, {"tiles": {"size": [32, 32]}}),
    ],
    ids=["whole", "views", "valid tiles", "tiles"],
)
def test_prediction_is_the_mean_of_all_snapshots(tmp_path, options, predict_options):
    if "tiles" in predict_options:
        predict_options = {"tiles": Tiles.model_validate(predict_options["tiles"])}
    path, members = snapshots_of(tmp_path / "last.pt", **options)
    image = torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    mean = probabilities(load(path, **predict_options), image)
    expected = [probabilities(load(member, **predict_options), image) for member in members]
    assert not torch.allclose(expected[0], expected[1], atol=1e-3)
    np.testing.assert_allclose(mean, np.mean([part.numpy() for part in expected], axis=0), atol=1e-6)


def test_damaged_snapshot_is_refused(tmp_path):
    path, _ = snapshots_of(tmp_path / "last.pt")
    whole, other = load_checkpoint(path), load_checkpoint(checkpoint(tmp_path / "c.pt", width=8))
    save_checkpoint(path, whole.info, whole.state, epoch=9, snapshots={3: other.state})
    with pytest.raises(CheckpointError, match="weights that do not fit"):
        load_checkpoint(path)
    broken = {**whole.state, "head.bias": torch.tensor([float("nan")])}
    save_checkpoint(path, whole.info, whole.state, epoch=9, snapshots={3: broken})
    with pytest.raises(CheckpointError, match="not finite"):
        load_checkpoint(path)
    save_checkpoint(path, whole.info, whole.state, snapshots=dict.fromkeys(range(64), whole.state))
    with pytest.raises(CheckpointError, match="more than any training keeps"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"snapshots": 4}, "set `schedule` to {name: cosine, cycles: 4}, or lower `snapshots`"),
        ({"schedule": "constant"}, "set `schedule` to {name: cosine, cycles: 2}"),
        ({"early_stopping": 3}, "either `snapshots` or `early_stopping`"),
        ({"predict_with": "best"}, "set `predict_with: last`"),
        ({"schedule": {"name": "cosine", "cycles": 3, "warmup": 2}}, "a warm-up shorter than the first cycle"),
    ],
)
def test_snapshots_without_their_cycles_are_refused(changes, message):
    data = {"layout": "tgs", "size": [48, 48], "root": "raw", "validation": {"fraction": 0.3}}
    experiment = {**EXPERIMENT, "predict_with": "last"}
    parse({"datasets": {"d": data}, "experiments": {"e": experiment}})
    with pytest.raises(ConfigError) as caught:
        parse({"datasets": {"d": data}, "experiments": {"e": {**experiment, **changes}}})
    assert message in str(caught.value)


def test_recipe_without_snapshots_does_not_mention_them():
    plain = TrainRecipe.model_validate({key: value for key, value in RECIPE.items() if key != "snapshots"})
    assert "snapshots" not in plain.plain()
