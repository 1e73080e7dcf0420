"""Selection from strata and groups: sizes, and stability when a sample is added."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sources import assigned

from pipeline.core.errors import RawDataError
from pipeline.raw.samples import Sample
from pipeline.raw.splits.sampling import (
    select_fold_of_groups,
    select_fold_of_strata,
    select_fraction,
    select_fraction_of_groups,
)

IDS = st.text("abcdef0123", min_size=1, max_size=6)
STRATA = st.dictionaries(IDS, st.integers(0, 3), min_size=1, max_size=60)
GROUPS = st.dictionaries(IDS, st.sampled_from("ABCDEFGHIJ"), min_size=1, max_size=60)
FRACTIONS = st.floats(0, 1)
SEEDS = st.integers(0, 9)


@given(STRATA, FRACTIONS, SEEDS)
def test_fraction_of_strata_is_exact_in_total_and_even(strata, fraction, seed):
    selected = select_fraction(strata, fraction, seed)
    assert len(selected) == round(fraction * len(strata))
    for stratum, size in Counter(strata.values()).items():
        assert abs(sum(strata[name] == stratum for name in selected) - fraction * size) <= 1 + 1e-9


@given(STRATA, FRACTIONS, SEEDS, st.integers(0, 3))
def test_added_sample_moves_at_most_one_other_of_each_stratum(strata, fraction, seed, new):
    before = select_fraction(strata, fraction, seed)
    after = select_fraction({**strata, "new": new}, fraction, seed)
    moved = Counter(strata[name] for name in (before ^ after) - {"new"})
    assert max(moved.values(), default=0) <= 1


@given(STRATA, st.integers(2, 7), SEEDS)
def test_folds_of_strata_are_even_in_total_and_each_stratum(strata, folds, seed):
    parts = [select_fold_of_strata(strata, folds, fold, seed) for fold in range(folds)]
    assert sorted(name for part in parts for name in part) == sorted(strata)
    for stratum in (None, *set(strata.values())):
        sizes = [sum(stratum is None or strata[name] == stratum for name in part) for part in parts]
        assert max(sizes) - min(sizes) <= 1


@given(STRATA, st.integers(2, 7), SEEDS, st.integers(0, 3))
def test_added_sample_moves_at_most_one_per_stratum_and_border(strata, folds, seed, new):
    def fold_of(strata):
        return {name: fold for fold in range(folds) for name in select_fold_of_strata(strata, folds, fold, seed)}

    before, after = fold_of(strata), fold_of({**strata, "new": new})
    for stratum in set(strata.values()):
        moved = [(before[name], after[name]) for name in strata if strata[name] == stratum]
        for border in range(1, folds):
            assert sum(min(pair) < border <= max(pair) for pair in moved) <= 1


@given(GROUPS, FRACTIONS, SEEDS)
def test_groups_stay_whole_and_fraction_is_within_half_a_group(groups, fraction, seed):
    selected = select_fraction_of_groups(groups, fraction, seed)
    assert not {groups[name] for name in selected} & {groups[name] for name in groups.keys() - selected}
    sizes = [size for size in Counter(groups.values()).values() if size <= 2 * fraction * len(groups)]
    if sizes and sum(sizes) >= fraction * len(groups):
        assert abs(len(selected) - fraction * len(groups)) <= max(sizes) / 2 + 1e-9


@given(GROUPS, st.integers(2, 5), SEEDS)
def test_folds_of_groups_share_no_group(groups, folds, seed):
    parts = [select_fold_of_groups(groups, folds, fold, seed) for fold in range(folds)]
    assert sorted(name for part in parts for name in part) == sorted(groups)
    owners = [{groups[name] for name in part} for part in parts]
    assert sum(map(len, owners)) == len(set(groups.values()))
    largest = max(Counter(groups.values()).values())
    assert all(abs(len(part) - len(groups) / folds) <= largest for part in parts)


def test_added_sample_of_a_group_moves_at_most_one_group():
    groups = {f"{number:03d}": f"g{number // 5}" for number in range(500)}
    for number in range(0, 500, 25):
        larger = {**groups, "new": groups[f"{number:03d}"]}
        before, after = (select_fraction_of_groups(members, 0.2, 3) for members in (groups, larger))
        assert len({groups[name] for name in (before ^ after) - {"new"}}) <= 1
        folds = [
            {name: fold for fold in range(5) for name in select_fold_of_groups(members, 5, fold, 3)}
            for members in (groups, larger)
        ]
        assert len({groups[name] for name in groups if folds[0][name] != folds[1][name]}) <= 4


SECTIONS = [Sample(f"s{section}_{tile}", "i", mask="m") for section in range(6) for tile in range(4)]
PATTERN = {"pattern": r"^s(\d+)_"}


def test_tiles_of_a_section_stay_in_one_split():
    splits = assigned(
        SECTIONS,
        test={"rule": "k-fold", "folds": 3, "fold": 1, "seed": 0, "group": PATTERN},
        validation={"fraction": 0.25, "seed": 0, "group": PATTERN},
    )
    owners = {split: {sample.id.split("_")[0] for sample in members} for split, members in splits.items()}
    assert {split: len(names) for split, names in owners.items()} == {
        "train": 3, "validation": 1, "test": 2, "unlabelled": 0
    }  # fmt: skip
    assert len(set().union(*owners.values())) == 6


def test_pattern_without_match_lists_first_ten_and_count(tmp_path):
    unmatched = [Sample(f"x{number:02d}", "i", mask="m") for number in range(30)]
    with pytest.raises(RawDataError) as caught:
        assigned([*SECTIONS, *unmatched], test={"rule": "fraction", "fraction": 0.2, "seed": 0, "group": PATTERN})
    (problem,) = caught.value.problems
    assert "30 of 54" in problem.found
    assert "x09 and 20 more" in problem.found
    assert "x10" not in problem.found


def test_every_sample_without_group_in_table_is_listed(tmp_path):
    rows = [f"{sample.id},{sample.id[:2]}" for sample in SECTIONS]
    (tmp_path / "t.csv").write_text("name,section\n" + "\n".join(rows[2:]) + f"\n{SECTIONS[0].id},\nother,s9\n")
    table = {"column": "section", "file": "t.csv", "id": "name"}
    rule = {"rule": "fraction", "fraction": 0.3, "seed": 0, "group": table}
    with pytest.raises(RawDataError) as caught:
        assigned(SECTIONS, tmp_path, test=rule)
    assert "2 of 24 samples: s0_0, s0_1" in caught.value.problems[0].found
    with pytest.raises(RawDataError, match="the columns 'name' and 'sektion'"):
        assigned(SECTIONS, tmp_path, test={**rule, "group": {**table, "column": "sektion"}})


def test_groups_that_are_all_too_large_are_refused():
    fraction = {"rule": "fraction", "fraction": 0.2, "seed": 0, "group": {"pattern": "(s)"}}
    with pytest.raises(RawDataError, match=r"a group of at most 9\.6 samples"):
        assigned(SECTIONS, test=fraction)
    fold = {"rule": "k-fold", "folds": 4, "fold": 0, "seed": 0, "group": {"pattern": "(s)"}}
    with pytest.raises(RawDataError, match="in 1 group: fold 0 is empty"):
        assigned(SECTIONS, test=fold)
