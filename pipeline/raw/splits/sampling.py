"""Select identifiers by seeded hash: reproducibly on every machine, and stably when one is added.

In all functions `fraction` is 0 to 1, `fold` is one of `folds` counted from 0, and `seed` determines the order (see
`rank`); `strata` and `groups` map each identifier to the number of its stratum or to the name of its group.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

import numpy as np

_Label = TypeVar("_Label", int, str)


def stable_hash(*parts: object) -> int:
    """Hash text to 64 bits, reproducibly on every machine and in every run (SHA-256, first 8 bytes)."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()[:8], "big")


def rank(ids: Iterable[str], seed: int) -> list[str]:
    """Sort identifiers by seeded hash; an added identifier does not change the order of the others."""
    return sorted(ids, key=lambda name: (stable_hash(seed, name), name))


def select_permutation(ids: Iterable[str], fraction: float, seed: int) -> set[str]:
    """Select the first round(fraction * n) of a seeded permutation of the sorted identifiers.

    This is the order of scikit-learn's ``train_test_split``: ``RandomState(seed).permutation(n)``, test first. It
    reproduces published splits; an added file changes the whole selection.
    """
    ordered = sorted(ids)
    order = np.random.RandomState(seed).permutation(len(ordered))
    return {ordered[index] for index in order[: round(fraction * len(ordered))]}


def select_fraction(strata: Mapping[str, int], fraction: float, seed: int) -> set[str]:
    """Select round(fraction * n) identifiers, and `fraction` of each stratum to within one.

    In each stratum the first by rank are selected. Adding one identifier moves at most one other of each stratum,
    because the number selected there changes by one at most.
    """
    selected: set[str] = set()
    for members, offset in _iterate_strata(strata):
        # shares of the cumulative count are rounded, so that rounding errors of strata cancel
        count = round(fraction * (offset + len(members))) - round(fraction * offset)
        selected.update(rank(members, seed)[:count])
    return selected


def select_fraction_of_groups(groups: Mapping[str, str], fraction: float, seed: int) -> set[str]:
    """Select whole groups, the first by rank, as close to `fraction` of the identifiers as possible.

    Groups with more than twice the target count are skipped; if all are, nothing is selected. Adding one identifier to
    an existing group moves at most one group, unless that group grows past this limit.
    """
    members = _members_by_label(groups)
    target_count = fraction * len(groups)
    selected: set[str] = set()
    for name in rank(members, seed):
        size = len(members[name])
        if size > 2 * target_count:
            continue
        if abs(len(selected) + size - target_count) > abs(len(selected) - target_count):
            break
        selected.update(members[name])
    return selected


def select_fold(ids: Iterable[str], folds: int, fold: int, seed: int) -> set[str]:
    """Select one of `folds` folds of equal size.

    Folds are blocks of consecutive ranks, so adding one identifier moves at most one other across each border.
    """
    ranked = rank(ids, seed)
    return set(ranked[len(ranked) * fold // folds : len(ranked) * (fold + 1) // folds])


def select_fold_of_strata(strata: Mapping[str, int], folds: int, fold: int, seed: int) -> set[str]:
    """Select one of `folds` folds of equal size to within one, in total and in each stratum.

    In each stratum folds are blocks of consecutive ranks. Adding one identifier moves at most one other of each
    stratum across each border.
    """
    selected: set[str] = set()
    for members, offset in _iterate_strata(strata):
        base_size, extra = divmod(len(members), folds)
        # larger folds continue after those of the previous strata, so that totals are equal to within one
        larger_folds = {(offset + step) % folds for step in range(extra)}
        start = base_size * fold + sum(number < fold for number in larger_folds)
        selected.update(rank(members, seed)[start : start + base_size + (fold in larger_folds)])
    return selected


def select_fold_of_groups(groups: Mapping[str, str], folds: int, fold: int, seed: int) -> set[str]:
    """Select one of `folds` folds of whole groups, with equal numbers of identifiers to within a group at each border.

    A group belongs to the fold that contains its middle; a fold inside one large group may be empty.
    """
    members = _members_by_label(groups)
    selected: set[str] = set()
    offset = 0
    for name in rank(members, seed):
        size = len(members[name])
        if (2 * offset + size) * folds // (2 * len(groups)) == fold:
            selected.update(members[name])
        offset += size
    return selected


def _members_by_label(labels: Mapping[str, _Label]) -> dict[_Label, list[str]]:
    members: dict[_Label, list[str]] = {}
    for name, label in labels.items():
        members.setdefault(label, []).append(name)
    return members


def _iterate_strata(strata: Mapping[str, int]) -> Iterator[tuple[list[str], int]]:
    """Yield the members of each stratum, and the number of members of all previous strata."""
    offset = 0
    for _, members in sorted(_members_by_label(strata).items()):
        yield members, offset
        offset += len(members)
