"""The network of a fold equals, bit for bit, that of a data set whose validation split is this fold."""

import pandas as pd
import pytest
import torch
from rawfiles import make_drive
from sources import opened, source

from pipeline.core.errors import InterruptionError, RawDataError, ShardError
from pipeline.core.signals import SIGNALS
from pipeline.prediction.predict import predict
from pipeline.prediction.recipes import PredictRecipe
from pipeline.raw.recipes import FoldsRecipe
from pipeline.raw.splits.folds import write_folds
from pipeline.shards.read import ShardReader
from pipeline.shards.recipes import ShardRecipe
from pipeline.shards.select import Selection
from pipeline.shards.write import build_shard
from pipeline.training import state_saver
from pipeline.training.checkpoint import load_checkpoint
from pipeline.training.preview import preview
from pipeline.training.recipes import AugmentedRecipe, TrainRecipe
from pipeline.training.run import train

SHARD = {"dataset": "d", "size": [40, 32], "normalize": "minmax"}
RECIPE = {
    "dataset": "d",
    "model": {"name": "unet", "width": 4, "depth": 2},
    # class weights and border weights depend on the training samples
    "loss": {"name": "bce", "region": "fov", "class_balance": True, "border": {"w0": 5.0, "sigma": 3.0}},
    "optimizer": {"name": "adam", "lr": 0.02},
    "augment": {"flip": "both"},
    "batch_size": 2,
    "epochs": 2,
    "seed": 1,
    "precision": "fp32",
    "threads": 1,
}
FOLD = {"folds": 3, "fold": 1}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Shards of 9 samples with two validation rules: a random third, and fold 1 of 3."""
    folder = tmp_path_factory.mktemp("folds")
    root = make_drive(folder / "raw", training=9, test=1)
    rules = {
        "own": {"fraction": 0.4, "seed": 5},
        "fold": {"rule": "k-fold", "seed": 0, **FOLD},
    }
    shards = {}
    for rule, validation in rules.items():
        options = {"layout": "drive", "root": root, "test": "official", "shards": 3, "validation": validation}
        for split in ("train", "validation"):
            recipe = ShardRecipe.model_validate({**SHARD, "split": split, "source": source(**options)})
            shards[rule, split] = []
            for number in opened("d", **options).shard_members(split):
                path = folder / rule / f"{split}-{number}.h5"
                build_shard(recipe, number=number, output=path)
                shards[rule, split].append(path)
    sample_source = source("drive", root, test="official", shards=3)
    recipe = FoldsRecipe.model_validate({"dataset": "d", "folds": 3, "sampling": {"seed": 0}, "source": sample_source})
    write_folds(recipe, output=folder / "3.json")
    return folder / "3.json", shards


def run(data, output, rule, changes=None, **options):
    table, shards = data
    arguments = {
        "train_shards": shards[rule, "train"],
        "validation_shards": shards[rule, "validation"],
        "output": output,
    }
    fold = {"fold": FOLD} if rule == "own" else {}
    recipe = TrainRecipe.model_validate({**RECIPE, **fold, **(changes or {})})
    train(recipe, experiment="e", **{**arguments, "folds": table if rule == "own" else None, **options})


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    for rule in ("own", "fold"):
        run(data, folder / rule, rule)
    return folder


def assert_same_networks(first, second):
    for name in ("best.pt", "last.pt"):
        a, b = load_checkpoint(first / name), load_checkpoint(second / name)
        assert a.scores == b.scores
        assert a.state.keys() == b.state.keys()
        assert all(torch.equal(a.state[key], b.state[key]) for key in a.state)
    assert (first / "history.csv").read_bytes() == (second / "history.csv").read_bytes()


def test_fold_and_split_trainings_are_bit_identical(data, trained):
    _, shards = data
    assert len(shards["own", "train"]) + len(shards["own", "validation"]) > 4
    assert_same_networks(trained / "own", trained / "fold")
    info = load_checkpoint(trained / "own/best.pt").info
    assert info.settings.fold.plain() == FOLD
    assert info.has_fov
    assert load_checkpoint(trained / "fold/best.pt").info.settings.fold is None


def test_other_fold_gives_other_network(data, trained, tmp_path):
    run(data, tmp_path, "own", {"fold": {**FOLD, "fold": 0}})
    assert pd.read_csv(tmp_path / "history.csv").ne(pd.read_csv(trained / "own/history.csv")).to_numpy().any()


def test_streamed_fold_gives_the_same_network(data, trained, tmp_path):
    run(data, tmp_path, "own", memory=0)
    assert_same_networks(tmp_path, trained / "own")


def test_interrupted_fold_resumes_bit_for_bit(data, trained, tmp_path, monkeypatch):
    steps = iter(range(100))

    def check(self):
        if next(steps) == 4:  # in the second epoch
            self._signal = SIGNALS[1]
        real(self)

    real = state_saver.StateSaver.save_if_due
    monkeypatch.setattr(state_saver.StateSaver, "save_if_due", check)
    with pytest.raises(InterruptionError):
        run(data, tmp_path / "out", "own", state=tmp_path / "state", save_every=0)
    assert not (tmp_path / "out/best.pt").exists()
    run(data, tmp_path / "out", "own", state=tmp_path / "state")
    assert_same_networks(tmp_path / "out", trained / "own")


def test_fold_is_predicted_like_validation_samples(data, trained, tmp_path):
    table, shards = data
    settings = {"kind": "probability", "precision": "fp32", "threads": 1, "test_time": "none"}
    recipe = PredictRecipe.model_validate({"dataset": "d", "split": "validation", **settings})
    arguments = {"experiment": "e", "checkpoint": trained / "own/best.pt"}
    fold = {"train_shards": shards["own", "train"], "folds": table}
    fold_recipe = PredictRecipe.model_validate({**recipe.plain(), "fold": FOLD})
    predict(fold_recipe, shards=shards["own", "validation"], output=tmp_path / "own", **fold, **arguments)
    predict(recipe, shards=shards["fold", "validation"], output=tmp_path / "fold", **arguments)
    predictions = {path.name: path.read_bytes() for path in (tmp_path / "own").iterdir()}
    assert predictions == {path.name: path.read_bytes() for path in (tmp_path / "fold").iterdir()}
    assert len(predictions) == 3


def test_preview_shows_training_samples_of_the_fold(data, tmp_path):
    table, shards = data
    settings = {"dataset": "d", "seed": 1, "crop": None, "augment": {"flip": "both"}}
    for rule, options in (("own", {"validation_shards": shards["own", "validation"], "folds": table}), ("fold", {})):
        recipe = AugmentedRecipe.model_validate({**settings, "fold": FOLD if rule == "own" else None})
        preview(recipe, experiment="e", train_shards=shards[rule, "train"], output=tmp_path / f"{rule}.png", **options)
    assert (tmp_path / "own.png").read_bytes() == (tmp_path / "fold.png").read_bytes()


def test_folds_work_without_validation_shards(data, tmp_path):
    _, shards = data
    all_shards = [*shards["own", "train"], *shards["own", "validation"]]
    run(data, tmp_path, "own", {"epochs": 1}, train_shards=all_shards, validation_shards=[])
    assert pd.read_csv(tmp_path / "history.csv")["val_loss"].notna().all()


def test_shards_must_match_the_table_of_folds(data, tmp_path):
    _, shards = data
    with pytest.raises(ShardError, match="samples missing"):
        run(data, tmp_path, "own", train_shards=shards["own", "train"][:1])
    with pytest.raises(ShardError, match="more than once"):
        run(data, tmp_path, "own", validation_shards=[*shards["own", "validation"], *shards["own", "train"][:1]])
    with pytest.raises(RawDataError, match="expected: a table of 4 folds"):
        run(data, tmp_path, "own", {"fold": {"folds": 4, "fold": 0}})


def test_selection_reads_the_same_samples_as_all(data):
    _, shards = data
    paths = [*shards["own", "train"], *shards["own", "validation"]]
    with ShardReader(paths) as all_samples:
        ids = all_samples.column("ids").tolist()
        selected_ids = sorted(ids)[2:6]
        with ShardReader(paths, Selection(selected_ids, ids)) as selected:
            ids_read = selected.column("ids").tolist()
            rows = [ids.index(name) for name in ids_read]
            assert sorted(ids_read) == selected_ids
            assert len(selected) == 4
            for name in ("images", "masks", "fov"):
                assert (selected.read_all(name) == all_samples.read_all(name)[rows]).all()
                assert (selected.read_array(name, 1) == all_samples.read_array(name, rows[1])).all()
            assert (selected.column("scale") == all_samples.column("scale")[rows]).all()
            assert selected.nbytes() == all_samples.nbytes() * 4 // 9
