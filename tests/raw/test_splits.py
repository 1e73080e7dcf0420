import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split
from sources import assigned

from pipeline.core.errors import RawDataError
from pipeline.raw.samples import Sample
from pipeline.raw.splits import sampling
from pipeline.raw.splits.assign import assign_shards, shard_of
from pipeline.raw.splits.sampling import select_fold, select_permutation

IDS = st.sets(st.text("abcdef0123", min_size=1, max_size=6), min_size=1, max_size=60)
FRACTIONS = st.floats(0, 1)


def select_fraction(ids, fraction, seed):
    """Select identifiers from one stratum."""
    return sampling.select_fraction(dict.fromkeys(ids, 0), fraction, seed)


def samples(names, labelled=True):
    return [Sample(name, name, mask=name if labelled else None) for name in names]


@given(IDS, FRACTIONS, st.integers(0, 9))
def test_fraction_is_exact(ids, fraction, seed):
    assert len(select_fraction(ids, fraction, seed)) == round(fraction * len(ids))


@given(IDS, FRACTIONS, st.integers(0, 9))
def test_added_file_moves_at_most_one_other(ids, fraction, seed):
    before = select_fraction(ids, fraction, seed)
    after = select_fraction(ids | {"new"}, fraction, seed)
    assert len((before ^ after) - {"new"}) <= 1


def test_another_seed_selects_other_samples():
    ids = [str(i) for i in range(100)]
    assert select_fraction(ids, 0.5, 0) != select_fraction(ids, 0.5, 1)


@given(IDS.filter(lambda ids: len(ids) > 1), st.floats(0.01, 0.99), st.integers(0, 9))
def test_permutation_selects_what_scikit_learn_selects(ids, fraction, seed):
    assume(math.ceil(fraction * len(ids)) < len(ids))  # scikit-learn demands training samples
    _, test = train_test_split(sorted(ids), test_size=fraction, random_state=seed)
    assert select_permutation(ids, fraction, seed) == set(test)


def test_permutation_equals_the_published_one():
    ids = [f"{i:04d}" for i in range(4000)]
    order = np.random.RandomState(42).permutation(4000)
    assert select_permutation(reversed(ids), 0.15, 42) == {ids[i] for i in order[:600]}
    # the first values, equal in every NumPy since 1.0
    assert order[:3].tolist() == [555, 3491, 527]


def test_assignment_to_four_splits():
    official = [Sample("t", "t", mask="t", official_split="test")]
    splits = assigned(
        [*samples("abcdefghij"), *official, *samples("u", labelled=False)],
        test="official",
        validation={"fraction": 0.2, "seed": 3},
    )
    assert [sample.id for sample in splits["test"]] == ["t"]
    assert [sample.id for sample in splits["unlabelled"]] == ["u"]
    assert len(splits["validation"]) == 2
    assert len(splits["train"]) == 8
    everything = [sample.id for split in splits.values() for sample in split]
    assert sorted(everything) == sorted("abcdefghijtu")


def test_split_without_training_samples_is_refused():
    everything = {"rule": "fraction", "fraction": 0.99, "seed": 0}
    with pytest.raises(RawDataError, match="at least one labelled sample"):
        assigned(samples("ab"), test=everything)
    with pytest.raises(RawDataError, match="at least one labelled sample"):
        assigned([])


def test_data_set_without_masks_is_unlabelled():
    splits = assigned(samples("ab", labelled=False), test={"rule": "fraction", "fraction": 0.5, "seed": 0})
    assert [sample.id for sample in splits["unlabelled"]] == ["a", "b"]
    assert splits["train"] == splits["test"] == []


OFFICIAL = [
    Sample(f"{split[:2]}{index}", "i", mask="m", official_split=split)
    for split in ("training", "validation", "test")
    for index in range(5)
]


def ids(splits):
    return {split: {sample.id for sample in members} for split, members in splits.items()}


def test_official_samples_stay_in_their_splits():
    splits = ids(assigned(OFFICIAL, test="official", validation="official"))
    assert splits["train"] == {f"tr{i}" for i in range(5)}
    assert splits["validation"] == {f"va{i}" for i in range(5)}
    assert splits["test"] == {f"te{i}" for i in range(5)}


def test_unused_official_validation_samples_are_training():
    splits = ids(assigned(OFFICIAL, test="official", validation={"fraction": 0.2, "seed": 0}))
    assert len(splits["validation"]) == 2
    assert splits["train"] | splits["validation"] == {f"{prefix}{i}" for prefix in ("tr", "va") for i in range(5)}


def test_official_validation_without_samples_is_refused():
    with pytest.raises(RawDataError, match="none of which is an official validation sample"):
        assigned(samples("abc"), validation="official")


@given(IDS, st.integers(2, 9), st.integers(0, 9))
def test_folds_have_equal_size(ids, folds, seed):
    parts = [select_fold(ids, folds, fold, seed) for fold in range(folds)]
    assert sorted(name for part in parts for name in part) == sorted(ids)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@given(IDS, st.integers(2, 9), st.integers(0, 9))
def test_added_file_moves_at_most_one_other_per_fold_border(ids, folds, seed):
    def fold_of(names):
        return {name: fold for fold in range(folds) for name in select_fold(names, folds, fold, seed)}

    before, after = fold_of(ids), fold_of(ids | {"new"})
    moved = [(before[name], after[name]) for name in ids if before[name] != after[name]]
    for border in range(1, folds):
        assert sum(min(pair) < border <= max(pair) for pair in moved) <= 1


def test_empty_fold_is_refused():
    with pytest.raises(RawDataError, match="fold 0 is empty"):
        assigned(samples("ab"), test={"rule": "k-fold", "folds": 3, "fold": 0, "seed": 0})


@given(IDS, st.integers(1, 7))
def test_shard_of_a_sample_does_not_depend_on_others(ids, shards):
    members = assign_shards(samples(sorted(ids)), shards)
    assert all(members.values())
    for number, shard_samples in members.items():
        assert all(shard_of(sample.id, shards) == number for sample in shard_samples)
    assert sorted(sample.id for shard_samples in members.values() for sample in shard_samples) == sorted(ids)
