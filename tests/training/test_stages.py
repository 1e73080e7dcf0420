"""Training in stages: each with its own loss, rate and epochs, from the weights of the stages before; resumable."""

import pandas as pd
import pytest
import torch
from rawfiles import make_tgs
from sources import source

from pipeline.shards.recipes import ShardRecipe
from pipeline.shards.write import build_shard
from pipeline.training import step
from pipeline.training.checkpoint import load_checkpoint
from pipeline.training.recipes import TrainRecipe
from pipeline.training.run import train

RECIPE = {
    "dataset": "d",
    "model": {"name": "unet", "width": 2, "depth": 2},
    "loss": "bce",
    "optimizer": {"name": "adam", "lr": 0.02},
    "batch_size": 4,
    "epochs": 2,
    "precision": "fp32",
    "threads": 1,
}
LOVASZ = {"loss": "lovasz", "lr": 0.005, "schedule": "cosine", "epochs": 3}
FILES = ("best.pt", "last.pt", "history.csv")


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    samples = source("tgs", make_tgs(folder / "raw"), validation={"fraction": 0.3})
    for split in ("train", "validation"):
        recipe = {"dataset": "d", "size": [32, 32], "normalize": "unit", "storage": "uint8", "split": split}
        build_shard(ShardRecipe.model_validate({**recipe, "source": samples}), number=0, output=folder / f"{split}.h5")
    yield folder
    torch.use_deterministic_algorithms(False)


def run(shards, output, state=None, **changes):
    train(
        TrainRecipe.model_validate({**RECIPE, **changes}),
        experiment="e",
        train_shards=[shards / "train.h5"],
        validation_shards=[shards / "validation.h5"],
        output=output,
        state=state,
        save_every=0.0,
    )
    return pd.read_csv(output / "history.csv")


def test_a_stage_has_its_own_loss_rate_schedule_and_epochs(shards, tmp_path):
    history = run(shards, tmp_path / "two", stages=[LOVASZ])
    assert history["epoch"].tolist() == [1, 2, 3, 4, 5]
    assert history["stage"].tolist() == [1, 1, 2, 2, 2]
    assert history["lr"].tolist() == pytest.approx([0.02, 0.02, 0.005 * 0.75, 0.005 * 0.25, 0.0])
    plain = run(shards, tmp_path / "one")
    assert "stage" not in plain
    pd.testing.assert_frame_equal(history[plain.columns][:2], plain)


@pytest.mark.parametrize("start", ["best", "last"])
def test_a_stage_equals_a_training_that_starts_from_a_checkpoint(shards, tmp_path, start):
    changes = {"batch_size": 100, "monitor": "val_mae"}  # one batch, so that the order of samples has no effect
    first = {**changes, "optimizer": {"name": "adam", "lr": 0.3}, "epochs": 4}
    staged = run(shards, tmp_path / "staged", **first, stages=[{**LOVASZ, "start": start}])
    before = run(shards, tmp_path / "before", **first)
    assert before["val_mae"].idxmin() != 3  # so that best and last differ
    second = {**changes, "loss": "lovasz", "schedule": "cosine", "epochs": 3}
    init = {"checkpoint": str(tmp_path / f"before/{start}.pt")}
    after = run(shards, tmp_path / "after", **second, optimizer={"name": "adam", "lr": 0.005}, init=init)
    for column in ("train_loss", "val_loss", "val_dice", "lr"):
        assert staged[column][4:].tolist() == pytest.approx(after[column].tolist(), rel=0.02), (
            column
        )  # another order of samples


@pytest.mark.parametrize("interrupted", [3, 4, 6])
def test_a_killed_training_resumes_in_any_stage(shards, tmp_path, monkeypatch, interrupted):
    run(shards, tmp_path / "pretrained", epochs=1)
    changes = {
        "init": {"checkpoint": str(tmp_path / "pretrained/best.pt"), "freeze": 1},
        **{"batch_size": 8, "augment": {"flip": "both"}, "schedule": "cosine", "monitor": "val_dice"},
        "stages": [LOVASZ, {"epochs": 1, "start": "last", "schedule": {"name": "plateau", "patience": 1}}],
    }
    run(shards, tmp_path / "whole", **changes)
    supervise, calls = step.supervise, []

    def killed(*arguments):
        calls.append(None)
        if len(calls) == interrupted:
            raise KeyboardInterrupt
        return supervise(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(step, "supervise", killed)
        with pytest.raises(KeyboardInterrupt):
            run(shards, tmp_path / "resumed", tmp_path / "state", **changes)
    run(shards, tmp_path / "resumed", tmp_path / "state", **changes)
    for name in FILES:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "resumed" / name).read_bytes(), name


@pytest.mark.parametrize(("monitor", "loss", "stages"), [
    ("val_loss", "dice", [2]),  # losses of other functions do not compare
    ("val_loss", None, [1, 2]),
    ("val_dice", "dice", [1, 2]),
])  # fmt: skip
def test_the_best_epoch_is_among_those_that_compare(shards, tmp_path, monitor, loss, stages):
    history = run(shards, tmp_path, monitor=monitor, stages=[{"epochs": 2, "loss": loss, "lr": 1e-8}])
    values = history[history["stage"].isin(stages)][monitor]
    best = values.idxmin() if monitor == "val_loss" else values.idxmax()
    assert load_checkpoint(tmp_path / "best.pt").epoch == history["epoch"][best]


def test_early_stopping_ends_a_stage_and_the_next_one_begins(shards, tmp_path):
    history = run(
        shards, tmp_path, epochs=50, optimizer={"name": "sgd", "lr": 1e-30}, early_stopping=2, monitor="val_dice",
        stages=[{"epochs": 50}, {"epochs": 1}],
    )  # fmt: skip
    assert history["stage"].tolist() == [1] * 3 + [2] * 3 + [3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages": [{"epochs": 1, "loss": "lovasz-softmax"}]}, "not lovasz-softmax.*choose among bce"),
        ({"stages": [{"epochs": 1, "loss": {"name": "lovasz", "region": "full"}}]}, "region"),
        ({"stages": []}, "at least 1 item"),
    ],
)
def test_stages_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        TrainRecipe.model_validate({**RECIPE, **changes})


def test_settings_without_stages_do_not_name_them():
    assert "stages" not in TrainRecipe.model_validate(RECIPE).plain()
    recipe = TrainRecipe.model_validate({**RECIPE, "stages": [LOVASZ]})
    assert TrainRecipe.model_validate(recipe.plain()) == recipe
    assert "pipeline.training.lovasz" in recipe.modules()
