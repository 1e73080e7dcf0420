"""Folds of a data set, and the table of folds."""

import json

import pytest
from rawfiles import add_drive, make_drive, make_tgs
from sources import opened, source

from pipeline.cli.main import main
from pipeline.core.errors import RawDataError, ShardError
from pipeline.raw.dataset import require_samples
from pipeline.raw.recipes import FoldsRecipe
from pipeline.raw.samples import Sample
from pipeline.raw.splits import folds
from pipeline.raw.splits.fold_table import read_fold, read_fold_table, write_fold_table
from pipeline.raw.splits.folds import split_by_fold, write_folds
from pipeline.raw.splits.rules import Sampling
from pipeline.shards.select import Selection, select_rows

PLAIN = {"seed": 3}
STRATIFIED = {"seed": 3, "stratify": "foreground"}


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    """12 labelled tiles, of which 3 are test samples."""
    root = make_tgs(tmp_path_factory.mktemp("raw") / "TGS")
    return {"layout": "tgs", "root": root, "test": {"rule": "fraction", "fraction": 0.25, "seed": 0}}


def drive_of(root, **more):
    return opened("d", "drive", root, test="official", **more)


def assign_folds(dataset, count, **sampling):
    return folds.assign_folds(dataset, count, Sampling.model_validate({"seed": 0, **sampling}))


def names(samples):
    return [sample.id for sample in samples]


@pytest.mark.parametrize(
    "validation", [None, {"fraction": 0.3, "seed": 1}, {"rule": "k-fold", "folds": 2, "fold": 1, "seed": 7}]
)
@pytest.mark.parametrize("sampling", [PLAIN, STRATIFIED], ids=["plain", "strata"])
@pytest.mark.parametrize("excluded", [[], [1]], ids=["all", "excluded"])
def test_fold_equals_validation_split_of_k_fold_rule(tiles, validation, sampling, excluded):
    pool = names(opened("d", **tiles).pool)
    exclude = {pool[index]: "blurred" for index in excluded}
    dataset = opened("d", **tiles, exclude=exclude, validation=validation)
    members = assign_folds(dataset, 3, **sampling)
    assert sorted(members) == sorted(set(pool) - exclude.keys())  # every sample is in one fold
    for fold in range(3):
        configured = {"rule": "k-fold", "folds": 3, "fold": fold, **sampling}
        expected = opened("d", **tiles, exclude=exclude, validation=configured)
        assert split_by_fold(dataset, members, fold) == expected.splits
    assert sorted(list(members.values()).count(fold) for fold in range(3)) == ([2, 3, 3] if exclude else [3, 3, 3])


def test_folds_keep_groups_together(tmp_path):
    make_drive(tmp_path, training=20, test=1)
    dataset = drive_of(tmp_path)
    group = {"pattern": r"(\d)$"}  # 21 and 31, 22 and 32, ...
    members = assign_folds(dataset, 3, group=group)
    assert len(members) == 20
    assert set(members.values()) == {0, 1, 2}
    assert all(members[f"{number}"] == members[f"{number + 10}"] for number in range(21, 31))
    for fold in range(3):
        configured = {"rule": "k-fold", "folds": 3, "fold": fold, "seed": 0, "group": group}
        assert split_by_fold(dataset, members, fold) == drive_of(tmp_path, validation=configured).splits


def test_new_sample_moves_at_most_one_other_across_each_border(tmp_path):
    make_drive(tmp_path, training=12, test=1)
    before = assign_folds(drive_of(tmp_path), 4)
    add_drive(tmp_path, "training", 40)
    after = assign_folds(drive_of(tmp_path), 4)
    assert after.keys() - before.keys() == {"40"}
    assert sum(after[name] != fold for name, fold in before.items()) <= 3


def test_new_test_sample_does_not_change_folds(drive):
    before = assign_folds(drive_of(drive), 3)
    add_drive(drive, "test", 9)
    assert assign_folds(drive_of(drive), 3) == before


def test_empty_folds_are_refused(drive):
    with pytest.raises(RawDataError, match="7 folds of 6 labelled samples: fold 0 is empty"):
        assign_folds(drive_of(drive), 7)
    members = assign_folds(drive_of(drive), 3)
    excluded = {name: "blurred" for name, fold in members.items() if fold == 1}
    with pytest.raises(RawDataError, match=r"fold 1 of 3\n *found: *2 samples, all of them excluded"):
        assign_folds(drive_of(drive, exclude=excluded), 3)


def test_out_of_fold_samples_are_training_and_validation(tiles):
    dataset = opened("d", **tiles, validation={"fraction": 0.3, "seed": 0})
    assert names(require_samples(dataset, "out-of-fold")) == sorted(
        names(dataset.splits["train"]) + names(dataset.splits["validation"])
    )


def test_fold_table_contains_the_assignment_only(tiles, tmp_path):
    table = tmp_path / "3.json"
    recipe = FoldsRecipe.model_validate({"dataset": "d", "folds": 3, "sampling": PLAIN, "source": source(**tiles)})
    write_folds(recipe, output=table)
    members = assign_folds(opened("d", **tiles), 3, **PLAIN)
    assert json.loads(table.read_text()) == {"folds": 3, "fold_by_id": members}
    parts = read_fold_table(table, 3)
    assert [sorted(part) for part in parts] == [[n for n, f in members.items() if f == fold] for fold in range(3)]
    fold = read_fold(table, folds=3, fold=1)
    assert fold.validation == parts[1]
    assert fold.training == parts[0] | parts[2]
    assert fold.pool == members.keys()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, "No such file"),
        ("no JSON", "Expecting value"),
        ("[]", "list indices"),
        ('{"folds": 2}', "fold_by_id"),
        ('{"folds": 2, "fold_by_id": {"a": 0, "b": 2}}', "out of range"),
        ('{"folds": 2, "fold_by_id": {"a": 0, "b": "1"}}', "indices must be"),
        ('{"folds": 2, "fold_by_id": {"a": 0}}', "2 folds with 1, 0 samples"),
        ('{"folds": 3, "fold_by_id": {"a": 0, "b": 1}}', "3 folds"),
    ],
)
def test_invalid_fold_table_is_refused(tmp_path, text, found):
    table = tmp_path / "2.json"
    if text is not None:
        table.write_text(text)
    with pytest.raises(RawDataError, match=f"2.json\n *found: .*{found}"):
        read_fold_table(table, 2)


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        ("train", "shards/d/"),
        ("augmented", "shards/d/"),
        ("predict --split validation", "models/e-fold0/best.pt"),
    ],
)
def test_explicit_fold_table_needs_no_manifest(tmp_path, tgs, monkeypatch, capsys, command, missing):
    monkeypatch.chdir(tmp_path)
    test = {"rule": "fraction", "fraction": 0.2}
    data = {"layout": "tgs", "root": str(tgs), "size": [32, 32], "test": test}
    recipe = {"dataset": "d", "model": "unet", "loss": "bce", "optimizer": {"name": "sgd", "lr": 0.1}, "epochs": 1}
    config = {"datasets": {"d": data}, "experiments": {"e": {**recipe, "batch_size": 1, "folds": 2}}}
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    write_fold_table(tmp_path / "mine.json", {"t00": 0, "t01": 1}, folds=2)
    arguments = [*command.split(), "--experiment", "e-fold0"]
    assert main([*arguments, "--folds", "mine.json"]) == 1
    message = capsys.readouterr().err
    assert f"results/{missing}" in message, "the table is accepted; only the next input is missing"
    assert "mine.json" not in message
    write_fold_table(tmp_path / "results/folds/d/2.json", {"t00": 0, "t01": 1}, folds=2)
    assert main(arguments) == 1
    assert "results/folds/d/2.json\n    found:    no manifest" in capsys.readouterr().err


def test_rows_are_ordered_by_shard_and_identifier():
    ids, shards = ["b", "d", "a", "c", "e"], [0, 0, 1, 0, 1]  # train-0, train-1, validation-0, validation-1
    selection = Selection({"b", "c", "e", "a"}, set(ids))
    assert select_rows(ids, shards, selection, []).tolist() == [0, 3, 2, 4]


@pytest.mark.parametrize(
    ("ids", "found"),
    [
        (["a", "b"], "1 sample missing in the shards: c"),
        (["a", "b", "c", "x"], "1 sample not in the table of folds: x"),
        (["a", "b", "c", "b"], "1 sample stored more than once: b"),
    ],
)
def test_shards_with_other_samples_than_the_table_are_refused(tmp_path, ids, found):
    with pytest.raises(ShardError, match=found):
        select_rows(ids, [0] * len(ids), Selection({"a"}, {"a", "b", "c"}), [tmp_path / "train-0.h5"])


def test_fold_does_not_change_test_and_unlabelled():
    samples = [Sample(id=name, image=name, mask=name) for name in "abcd"]
    test = Sample(id="t", image="t", mask="t")

    class Dataset:
        splits = {"train": samples[:3], "validation": samples[3:], "test": [test], "unlabelled": []}  # noqa: RUF012
        pool = samples

    splits = split_by_fold(Dataset, {"a": 0, "b": 1, "c": 0, "d": 1}, 1)
    assert {split: names(members) for split, members in splits.items()} == {
        "train": ["a", "c"],
        "validation": ["b", "d"],
        "test": ["t"],
        "unlabelled": [],
    }
