"""A network of one fold is, bit for bit, that of a data set whose validation samples are that fold."""

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
    # weights of classes and gaps are those of the samples that are trained on
    "loss": {"name": "bce", "region": "fov", "class_balance": True, "border": {"w0": 5.0, "sigma": 3.0}},
    "optimizer": {"name": "adam", "lr": 0.02},
    "augment": {"flip": "both"},
    "batch_size": 2,
    "epochs": 2,
    "seed": 1,
    "threads": 1,
}
FOLD = {"folds": 3, "fold": 1}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Shards of 9 samples split in two ways: two thirds and one third by chance, and by fold 1 of 3."""
    folder = tmp_path_factory.mktemp("folds")
    root = make_drive(folder / "raw", training=9, test=1)
    ways = {
        "own": {"fraction": 0.4, "seed": 5},
        "fold": {"rule": "k-fold", "seed": 0, **FOLD},
    }
    shards = {}
    for way, validation in ways.items():
        of = {"layout": "drive", "root": root, "test": "official", "shards": 3, "validation": validation}
        for split in ("train", "validation"):
            recipe = ShardRecipe.model_validate({**SHARD, "split": split, "source": source(**of)})
            shards[way, split] = []
            for number in opened("d", **of).shard_members(split):
                path = folder / way / f"{split}-{number}.h5"
                build_shard(recipe, number=number, output=path)
                shards[way, split].append(path)
    of = source("drive", root, test="official", shards=3)
    recipe = FoldsRecipe.model_validate({"dataset": "d", "folds": 3, "sampling": {"seed": 0}, "source": of})
    write_folds(recipe, output=folder / "3.json")
    return folder / "3.json", shards


def run(data, output, way, changes=None, **more):
    table, shards = data
    given = {"train_shards": shards[way, "train"], "validation_shards": shards[way, "validation"], "output": output}
    fold = {"fold": FOLD} if way == "own" else {}
    recipe = TrainRecipe.model_validate({**RECIPE, **fold, **(changes or {})})
    train(recipe, experiment="e", **{**given, "folds": table if way == "own" else None, **more})


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    for way in ("own", "fold"):
        run(data, folder / way, way)
    return folder


def same_networks(first, second):
    for name in ("best.pt", "last.pt"):
        one, other = load_checkpoint(first / name), load_checkpoint(second / name)
        assert one.scores == other.scores
        assert one.state.keys() == other.state.keys()
        assert all(torch.equal(one.state[key], other.state[key]) for key in one.state)
    assert (first / "history.csv").read_bytes() == (second / "history.csv").read_bytes()


def test_both_ways_end_in_the_same_bits(data, trained):
    _, shards = data
    assert len(shards["own", "train"]) + len(shards["own", "validation"]) > 4
    same_networks(trained / "own", trained / "fold")
    assert load_checkpoint(trained / "own/best.pt").about.settings.fold.plain() == FOLD
    assert load_checkpoint(trained / "fold/best.pt").about.settings.fold is None


def test_another_fold_is_another_network(data, trained, tmp_path):
    run(data, tmp_path, "own", {"fold": {**FOLD, "fold": 0}})
    assert pd.read_csv(tmp_path / "history.csv").ne(pd.read_csv(trained / "own/history.csv")).to_numpy().any()


def test_samples_that_are_read_as_needed_give_the_same(data, trained, tmp_path):
    run(data, tmp_path, "own", memory=0)
    same_networks(tmp_path, trained / "own")


def test_a_fold_that_was_killed_goes_on_bit_for_bit(data, trained, tmp_path, monkeypatch):
    steps = iter(range(100))

    def check(self):
        if next(steps) == 4:  # in the second epoch
            self._signal = SIGNALS[1]
        real(self)

    real = state_saver.StateSaver.check
    monkeypatch.setattr(state_saver.StateSaver, "check", check)
    with pytest.raises(InterruptionError):
        run(data, tmp_path / "out", "own", state=tmp_path / "state", save_every=0)
    assert not (tmp_path / "out/best.pt").exists()
    run(data, tmp_path / "out", "own", state=tmp_path / "state")
    same_networks(tmp_path / "out", trained / "own")


def test_a_fold_is_predicted_as_validation_samples_are(data, trained, tmp_path):
    table, shards = data
    how = {"kind": "probability", "precision": "fp32", "threads": 1, "test_time": "none"}
    how = PredictRecipe.model_validate({"dataset": "d", "split": "validation", **how})
    given = {"experiment": "e", "checkpoint": trained / "own/best.pt"}
    fold = {"train_shards": shards["own", "train"], "folds": table}
    of_fold = PredictRecipe.model_validate({**how.plain(), "fold": FOLD})
    predict(of_fold, shards=shards["own", "validation"], output=tmp_path / "own", **fold, **given)
    predict(how, shards=shards["fold", "validation"], output=tmp_path / "fold", **given)
    found = {path.name: path.read_bytes() for path in (tmp_path / "own").iterdir()}
    assert found == {path.name: path.read_bytes() for path in (tmp_path / "fold").iterdir()}
    assert len(found) == 3


def test_augmented_samples_are_those_of_the_fold(data, tmp_path):
    table, shards = data
    how = {"dataset": "d", "seed": 1, "crop": None, "augment": {"flip": "both"}}
    for way, more in (("own", {"validation_shards": shards["own", "validation"], "folds": table}), ("fold", {})):
        recipe = AugmentedRecipe.model_validate({**how, "fold": FOLD if way == "own" else None})
        preview(recipe, experiment="e", train_shards=shards[way, "train"], output=tmp_path / f"{way}.png", **more)
    assert (tmp_path / "own.png").read_bytes() == (tmp_path / "fold.png").read_bytes()


def test_a_data_set_without_validation_shards_has_folds(data, tmp_path):
    _, shards = data
    everything = [*shards["own", "train"], *shards["own", "validation"]]
    run(data, tmp_path, "own", {"epochs": 1}, train_shards=everything, validation_shards=[])
    assert pd.read_csv(tmp_path / "history.csv")["val_loss"].notna().all()


def test_shards_and_table_of_different_samples_are_refused(data, tmp_path):
    _, shards = data
    with pytest.raises(ShardError, match="of the table of folds too few"):
        run(data, tmp_path, "own", train_shards=shards["own", "train"][:1])
    with pytest.raises(ShardError, match="more than once"):
        run(data, tmp_path, "own", validation_shards=[*shards["own", "validation"], *shards["own", "train"][:1]])
    with pytest.raises(RawDataError, match="expected: a table of 4 folds"):
        run(data, tmp_path, "own", {"fold": {"folds": 4, "fold": 0}})


def test_a_selection_reads_what_the_whole_reads(data):
    _, shards = data
    paths = [*shards["own", "train"], *shards["own", "validation"]]
    with ShardReader(paths) as whole:
        ids = whole.column("ids").tolist()
        wanted = sorted(ids)[2:6]
        with ShardReader(paths, Selection(wanted, ids)) as some:
            chosen = some.column("ids").tolist()
            rows = [ids.index(name) for name in chosen]
            assert sorted(chosen) == wanted
            assert len(some) == 4
            for name in ("images", "masks", "fov"):
                assert (some.whole(name) == whole.whole(name)[rows]).all()
                assert (some.plane(name, 1) == whole.plane(name, rows[1])).all()
            assert (some.column("scale") == whole.column("scale")[rows]).all()
            assert some.nbytes() == whole.nbytes() * 4 // 9
