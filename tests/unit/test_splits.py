import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import RawDataError
from pipeline.raw.samples import Sample
from pipeline.raw.splits import assign_shards, assign_splits, shard_of, take_fraction, take_permutation

IDS = st.sets(st.text("abcdef0123", min_size=1, max_size=6), min_size=1, max_size=60)
FRACTIONS = st.floats(0, 1)


def samples(names, labelled=True):
    return [Sample(name, name, mask=name if labelled else None) for name in names]


@given(IDS, FRACTIONS, st.integers(0, 9))
def test_a_fraction_is_exact(ids, fraction, seed):
    assert len(take_fraction(ids, fraction, seed)) == round(fraction * len(ids))


@given(IDS, FRACTIONS, st.integers(0, 9))
def test_one_more_file_moves_at_most_one_other(ids, fraction, seed):
    before = take_fraction(ids, fraction, seed)
    after = take_fraction(ids | {"new"}, fraction, seed)
    assert len((before ^ after) - {"new"}) <= 1


def test_another_seed_takes_others():
    ids = [str(i) for i in range(100)]
    assert take_fraction(ids, 0.5, 0) != take_fraction(ids, 0.5, 1)


def test_a_permutation_is_the_published_one():
    ids = [f"{i:04d}" for i in range(4000)]
    order = np.random.RandomState(42).permutation(4000)
    assert take_permutation(reversed(ids), 0.15, 42) == {ids[i] for i in order[:600]}
    # the first of them, as any NumPy since 1.0 draws it
    assert order[:3].tolist() == [555, 3491, 527]


def test_the_four_splits():
    official = [Sample("t", "t", mask="t", official_split="test")]
    splits = assign_splits(
        [*samples("abcdefghij"), *official, *samples("u", labelled=False)],
        "d",
        test={"method": "official"},
        validation={"fraction": 0.2, "seed": 3},
    )
    assert [sample.id for sample in splits["test"]] == ["t"]
    assert [sample.id for sample in splits["unlabelled"]] == ["u"]
    assert len(splits["validation"]) == 2
    assert len(splits["train"]) == 8
    everything = [sample.id for split in splits.values() for sample in split]
    assert sorted(everything) == sorted("abcdefghijtu")


def test_a_split_that_leaves_nothing_to_train_on():
    with pytest.raises(RawDataError, match="at least one labelled sample"):
        assign_splits(samples("ab", labelled=False), "d")


@given(IDS, st.integers(1, 7))
def test_a_sample_keeps_its_shard_whatever_else_there_is(ids, shards):
    members = assign_shards(samples(sorted(ids)), shards)
    assert all(members.values())
    for number, some in members.items():
        assert all(shard_of(sample.id, shards) == number for sample in some)
    assert sorted(sample.id for some in members.values() for sample in some) == sorted(ids)
