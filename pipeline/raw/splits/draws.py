"""Draw some of many identifiers by seeded hash: the same on every machine, and steady when one is added."""

import hashlib
from collections.abc import Iterable, Mapping

import numpy as np


def stable_hash(*parts: object) -> int:
    """Hash text to 64 bits, the same on every machine and in every run (SHA-256, first 8 bytes)."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()[:8], "big")


def rank(ids: Iterable[str], seed: int) -> list[str]:
    """Sort identifiers by seeded hash; another seed gives another order, and one more leaves that of the rest."""
    return sorted(ids, key=lambda name: (stable_hash(seed, name), name))


def take_fraction(ids: Iterable[str], fraction: float, seed: int) -> set[str]:
    """Take round(fraction * n) of the identifiers, those whose seeded hash ranks first.

    Adding one identifier moves at most one other across the line, because the order of the rest stays.

    Parameters
    ----------
    ids : iterable of str
    fraction : float
        0 to 1.
    seed : int
        See `rank`.
    """
    ranked = rank(ids, seed)
    return set(ranked[: round(fraction * len(ranked))])


def take_permutation(ids: Iterable[str], fraction: float, seed: int) -> set[str]:
    """Take the first round(fraction * n) of a seeded permutation of the sorted identifiers.

    This is scikit-learn's ``train_test_split`` order: ``RandomState(seed).permutation(n)``, test first. One added
    file reshuffles everything; it is here to reproduce a published split.
    """
    ordered = sorted(ids)
    order = np.random.RandomState(seed).permutation(len(ordered))
    return {ordered[index] for index in order[: round(fraction * len(ordered))]}


def take_fold(ids: Iterable[str], folds: int, fold: int, seed: int) -> set[str]:
    """Take one of `folds` parts of equal size, in the order of a seeded hash.

    Parts are blocks of neighbouring ranks, so adding one identifier moves at most one other across each border.

    Parameters
    ----------
    ids : iterable of str
    folds : int
    fold : int
        0 to folds - 1.
    seed : int
        See `rank`.
    """
    ranked = rank(ids, seed)
    return set(ranked[len(ranked) * fold // folds : len(ranked) * (fold + 1) // folds])


def take_fraction_of_strata(strata: Mapping[str, int], fraction: float, seed: int) -> set[str]:
    """Take round(fraction * n) of the identifiers, and of each stratum that share of its own to within one.

    Adding one identifier moves at most one other of each stratum: inside a stratum it is `take_fraction`, and the
    number that is taken there changes by one at most.

    Parameters
    ----------
    strata : mapping of str to int
        Identifier to the number of its stratum.
    fraction : float
        0 to 1.
    seed : int
        See `rank`.
    """
    taken: set[str] = set()
    before = 0
    for members in _by_stratum(strata):
        # shares of the running total are rounded, so that what rounding gives one stratum the next one lacks
        count = round(fraction * (before + len(members))) - round(fraction * before)
        taken.update(rank(members, seed)[:count])
        before += len(members)
    return taken


def take_fold_of_strata(strata: Mapping[str, int], folds: int, fold: int, seed: int) -> set[str]:
    """Take one of `folds` parts that have equal sizes, in all and in each stratum, to within one.

    Inside a stratum parts are blocks of neighbouring ranks. Adding one identifier moves at most one other of each
    stratum across each border.

    Parameters
    ----------
    strata : mapping of str to int
        Identifier to the number of its stratum.
    folds : int
    fold : int
        0 to folds - 1.
    seed : int
        See `rank`.
    """
    taken: set[str] = set()
    before = 0
    for members in _by_stratum(strata):
        whole, extra = divmod(len(members), folds)
        # the folds that get one more follow those that got one more in the strata before
        larger = {(before + step) % folds for step in range(extra)}
        start = whole * fold + sum(number < fold for number in larger)
        taken.update(rank(members, seed)[start : start + whole + (fold in larger)])
        before += len(members)
    return taken


def _by_stratum(strata: Mapping[str, int]) -> list[list[str]]:
    members: dict[int, list[str]] = {}
    for name, stratum in strata.items():
        members.setdefault(stratum, []).append(name)
    return [members[stratum] for stratum in sorted(members)]


def take_fraction_of_groups(groups: Mapping[str, str], fraction: float, seed: int) -> set[str]:
    """Take whole groups, those whose seeded hash ranks first, as close to `fraction` of the identifiers as that gets.

    Groups that hold more than twice the wanted number are passed over. Adding one identifier to a group that is
    there moves at most one group across the line, unless that one grows past this limit.

    Parameters
    ----------
    groups : mapping of str to str
        Identifier to the name of its group.
    fraction : float
        0 to 1.
    seed : int
        See `rank`; it orders the groups.

    Returns
    -------
    set of str
        Empty where every group is too large.
    """
    members = _by_group(groups)
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


def take_fold_of_groups(groups: Mapping[str, str], folds: int, fold: int, seed: int) -> set[str]:
    """Take one of `folds` parts of whole groups, of equal size in identifiers to within the groups at their borders.

    Groups stand in the order of a seeded hash, and a group belongs to the part that its middle falls into.

    Parameters
    ----------
    groups : mapping of str to str
        Identifier to the name of its group.
    folds : int
    fold : int
        0 to folds - 1.
    seed : int
        See `rank`; it orders the groups.

    Returns
    -------
    set of str
        Empty where a large group covers the whole part.
    """
    members = _by_group(groups)
    taken: set[str] = set()
    before = 0
    for name in rank(members, seed):
        size = len(members[name])
        if (2 * before + size) * folds // (2 * len(groups)) == fold:
            taken.update(members[name])
        before += size
    return taken


def _by_group(groups: Mapping[str, str]) -> dict[str, list[str]]:
    members: dict[str, list[str]] = {}
    for name, group in groups.items():
        members.setdefault(group, []).append(name)
    return members
