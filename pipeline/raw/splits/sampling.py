"""Draw some of many identifiers by seeded hash: the same on every machine, and steady when one is added.

Everywhere `fraction` is 0 to 1, `fold` is one of `folds` counted from 0, and `seed` decides the order (see `rank`);
`strata` and `groups` map each identifier to the number of its stratum or to the name of its group.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

import numpy as np

_Label = TypeVar("_Label", int, str)


def stable_hash(*parts: object) -> int:
    """Hash text to 64 bits, the same on every machine and in every run (SHA-256, first 8 bytes)."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()[:8], "big")


def rank(ids: Iterable[str], seed: int) -> list[str]:
    """Sort identifiers by seeded hash; another seed gives another order, and one more leaves that of the rest."""
    return sorted(ids, key=lambda name: (stable_hash(seed, name), name))


def take_permutation(ids: Iterable[str], fraction: float, seed: int) -> set[str]:
    """Take the first round(fraction * n) of a seeded permutation of the sorted identifiers.

    This is scikit-learn's ``train_test_split`` order: ``RandomState(seed).permutation(n)``, test first. One added
    file reshuffles everything; it is here to reproduce a published split.
    """
    ordered = sorted(ids)
    order = np.random.RandomState(seed).permutation(len(ordered))
    return {ordered[index] for index in order[: round(fraction * len(ordered))]}


def take_fraction(strata: Mapping[str, int], fraction: float, seed: int) -> set[str]:
    """Take round(fraction * n) of the identifiers, and of each stratum that share of its own to within one.

    Inside a stratum they are those that rank first. Adding one identifier moves at most one other of each stratum,
    because the number that is taken there changes by one at most.
    """
    taken: set[str] = set()
    for members, before in _strata(strata):
        # shares of the running total are rounded, so that what rounding gives one stratum the next one lacks
        count = round(fraction * (before + len(members))) - round(fraction * before)
        taken.update(rank(members, seed)[:count])
    return taken


def take_fraction_of_groups(groups: Mapping[str, str], fraction: float, seed: int) -> set[str]:
    """Take whole groups, those that rank first, as close to `fraction` of the identifiers as that gets.

    Groups that hold more than twice the wanted number are passed over; where all do, nothing is taken. Adding one
    identifier to a group that is there moves at most one group across the line, unless that one grows past this limit.
    """
    members = _members(groups)
    wanted = fraction * len(groups)
    taken: set[str] = set()
    for name in rank(members, seed):
        size = len(members[name])
        if size > 2 * wanted:
            continue
        if abs(len(taken) + size - wanted) > abs(len(taken) - wanted):
            break
        taken.update(members[name])
    return taken


def take_fold(ids: Iterable[str], folds: int, fold: int, seed: int) -> set[str]:
    """Take one of `folds` parts of equal size.

    Parts are blocks of neighbouring ranks, so adding one identifier moves at most one other across each border.
    """
    ranked = rank(ids, seed)
    return set(ranked[len(ranked) * fold // folds : len(ranked) * (fold + 1) // folds])


def take_fold_of_strata(strata: Mapping[str, int], folds: int, fold: int, seed: int) -> set[str]:
    """Take one of `folds` parts that have equal sizes, in all and in each stratum, to within one.

    Inside a stratum parts are blocks of neighbouring ranks. Adding one identifier moves at most one other of each
    stratum across each border.
    """
    taken: set[str] = set()
    for members, before in _strata(strata):
        whole, extra = divmod(len(members), folds)
        # the folds that get one more follow those that got one more in the strata before
        larger = {(before + step) % folds for step in range(extra)}
        start = whole * fold + sum(number < fold for number in larger)
        taken.update(rank(members, seed)[start : start + whole + (fold in larger)])
    return taken


def take_fold_of_groups(groups: Mapping[str, str], folds: int, fold: int, seed: int) -> set[str]:
    """Take one of `folds` parts of whole groups, of equal size in identifiers to within the groups at their borders.

    A group belongs to the part that its middle falls into; a part that one large group covers is empty.
    """
    members = _members(groups)
    taken: set[str] = set()
    before = 0
    for name in rank(members, seed):
        size = len(members[name])
        if (2 * before + size) * folds // (2 * len(groups)) == fold:
            taken.update(members[name])
        before += size
    return taken


def _members(labels: Mapping[str, _Label]) -> dict[_Label, list[str]]:
    members: dict[_Label, list[str]] = {}
    for name, label in labels.items():
        members.setdefault(label, []).append(name)
    return members


def _strata(strata: Mapping[str, int]) -> Iterator[tuple[list[str], int]]:
    """Give the members of each stratum, and how many the strata before have together."""
    before = 0
    for _, members in sorted(_members(strata).items()):
        yield members, before
        before += len(members)
