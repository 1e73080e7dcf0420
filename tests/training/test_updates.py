"""Updates of the weights with the gradients of several batches."""

import itertools

import pandas as pd
import pytest
import torch
from rawfiles import make_tgs
from sources import source

from pipeline.shards.recipes import ShardRecipe
from pipeline.shards.write import build_shard
from pipeline.training import run as training
from pipeline.training.checkpoint import load_checkpoint
from pipeline.training.recipes import TrainRecipe
from pipeline.training.step import TrainingStep

RECIPE = {
    "dataset": "d",
    "model": {"name": "unet-small", "widths": [4, 8]},  # no batch normalization, which depends on the batch
    "loss": "bce",
    "optimizer": {"name": "sgd", "lr": 0.5, "momentum": 0.9},
    "schedule": {"name": "cosine", "warmup": 1},
    "epochs": 2,
    "batch_size": 6,  # of 8 samples
    "precision": "fp32",
    "threads": 1,
}


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    samples = source("tgs", make_tgs(folder / "raw"), validation={"fraction": 0.3})
    recipe = {"dataset": "d", "size": [32, 32], "normalize": "unit", "storage": "uint8", "split": "train"}
    build_shard(ShardRecipe.model_validate({**recipe, "source": samples}), number=0, output=folder / "train.h5")
    yield folder / "train.h5"
    torch.use_deterministic_algorithms(False)


def run(shard, output, state=None, **changes):
    recipe = TrainRecipe.model_validate({**RECIPE, **changes})
    training.train(
        recipe, experiment="e", train_shards=[shard], validation_shards=[], output=output, state=state, save_every=0.0
    )
    return load_checkpoint(output / "last.pt").state, pd.read_csv(output / "history.csv")


def test_accumulated_batches_equal_one_large_batch(shard, tmp_path):
    large, large_history = run(shard, tmp_path / "large")
    # updates of 2 + 2 + 2 samples and of the last 2
    small, history = run(shard, tmp_path / "small", batch_size=2, accumulate=3)
    assert history["lr"].tolist() == large_history["lr"].tolist()
    assert history["train_loss"].tolist() == pytest.approx(large_history["train_loss"].tolist(), rel=1e-5)
    for name, weights in large.items():
        torch.testing.assert_close(small[name], weights, rtol=1e-4, atol=1e-6, msg=name)
    plain, _ = run(shard, tmp_path / "plain", batch_size=2)
    assert any((plain[name] - weights).abs().max() > 1e-3 for name, weights in large.items())


def test_batches_of_an_update_count_by_their_rows(shard, tmp_path):
    large, _ = run(shard, tmp_path / "large", batch_size=8)
    small, _ = run(shard, tmp_path / "small", batch_size=5, accumulate=2)  # 5 and 3 samples
    for name, weights in large.items():
        torch.testing.assert_close(small[name], weights, rtol=1e-4, atol=1e-6, msg=name)


def test_a_training_killed_within_an_update_repeats_it(shard, tmp_path, monkeypatch):
    changes = {"batch_size": 2, "accumulate": 3}
    run(shard, tmp_path / "whole", **changes)
    call, steps = TrainingStep.__call__, itertools.count(1)

    def killed(*arguments):
        if next(steps) == 7:  # the third batch of the first update of the second epoch
            raise KeyboardInterrupt
        call(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(TrainingStep, "__call__", killed)
        with pytest.raises(KeyboardInterrupt):
            run(shard, tmp_path / "resumed", tmp_path / "state", **changes)
    run(shard, tmp_path / "resumed", tmp_path / "state", **changes)
    for name in ("last.pt", "history.csv"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "resumed" / name).read_bytes()


@pytest.mark.parametrize(("changes", "wanted"), [({}, True), ({"accumulate": 2}, False)])
def test_only_steps_that_are_updates_are_recorded(shard, tmp_path, monkeypatch, changes, wanted):
    asked = []
    monkeypatch.setattr(training, "choose_recorder", lambda wanted, device: asked.append(wanted))
    run(shard, tmp_path, epochs=1, schedule="constant", **changes)
    assert asked == [wanted]


def test_accumulate_is_a_number_of_batches():
    with pytest.raises(ValueError, match="greater than"):
        TrainRecipe.model_validate({**RECIPE, "accumulate": 0})
    assert "accumulate" not in TrainRecipe.model_validate({**RECIPE, "accumulate": 1}).plain()
