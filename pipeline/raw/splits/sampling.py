"""Select identifiers by seeded hash: reproducibly on every machine, and stably when one is added.

In all functions `fraction` is 0 to 1, `fold` is one of `folds` counted from 0, and `seed` determines the order (see
`rank`); `stratum_by_id` and `group_by_id` map each identifier to the number of its stratum or the name of its group.
"""

import hashlib
import math
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
    """Select the first ceil(fraction * n) of a seeded permutation of the sorted identifiers.

    These are the test samples of scikit-learn's ``train_test_split(sorted(ids), test_size=fraction,
    random_state=seed)``, to reproduce published splits; an added file changes the whole selection.
    """
    ordered = sorted(ids)
    order = np.random.RandomState(seed).permutation(len(ordered))
    return {ordered[index] for index in order[: math.ceil(fraction * len(ordered))]}


def select_fraction(stratum_by_id: Mapping[str, int], fraction: float, seed: int) -> set[str]:
    """Select ``round(fraction * n)`` identifiers, stratified: the count of each stratum is within one of its share.

    Identifiers are taken in the order of `rank`. If one identifier is added, at most one other identifier of each
    stratum enters or leaves the selection.
    """
    selected: set[str] = set()
    for ids, offset in _iterate_strata(stratum_by_id):
        # the cumulative counts are rounded, so that rounding errors of strata cancel
        count = round(fraction * (offset + len(ids))) - round(fraction * offset)
        selected.update(rank(ids, seed)[:count])
    return selected


def select_fraction_of_groups(group_by_id: Mapping[str, str], fraction: float, seed: int) -> set[str]:
    """Select whole groups in the order of `rank`, as close to `fraction` of the identifiers as possible.

    Groups with more than twice the target count are skipped; if all are, nothing is selected. If one identifier is
    added to an existing group, at most one group enters or leaves the selection, unless that group exceeds this limit.
    """
    ids_by_group = _ids_by_label(group_by_id)
    target_count = fraction * len(group_by_id)
    selected: set[str] = set()
    for name in rank(ids_by_group, seed):
        size = len(ids_by_group[name])
        if size > 2 * target_count:
            continue
        if abs(len(selected) + size - target_count) > abs(len(selected) - target_count):
            break
        selected.update(ids_by_group[name])
    return selected


def select_fold(ids: Iterable[str], folds: int, fold: int, seed: int) -> set[str]:
    """Select one of `folds` folds of equal size.

    Folds are blocks of consecutive ranks: if one identifier is added, at most one other crosses each border.
    """
    ranked = rank(ids, seed)
    return set(ranked[len(ranked) * fold // folds : len(ranked) * (fold + 1) // folds])


def select_fold_of_strata(stratum_by_id: Mapping[str, int], folds: int, fold: int, seed: int) -> set[str]:
    """Select one of `folds` folds of equal size to within one, in total and in each stratum.

    In each stratum folds are blocks of consecutive ranks. If one identifier is added, at most one other identifier of
    each stratum crosses each border.
    """
    selected: set[str] = set()
    for ids, offset in _iterate_strata(stratum_by_id):
        base_size, extra = divmod(len(ids), folds)
        # larger folds continue after those of the previous strata, so that totals are equal to within one
        larger_folds = {(offset + step) % folds for step in range(extra)}
        start = base_size * fold + sum(number < fold for number in larger_folds)
        selected.update(rank(ids, seed)[start : start + base_size + (fold in larger_folds)])
    return selected


def select_fold_of_groups(group_by_id: Mapping[str, str], folds: int, fold: int, seed: int) -> set[str]:
    """Select one of `folds` folds of whole groups, with equal numbers of identifiers to within a group at each border.

    A group belongs to the fold that contains its middle; a fold inside one large group may be empty.
    """
    ids_by_group = _ids_by_label(group_by_id)
    selected: set[str] = set()
    offset = 0
    for name in rank(ids_by_group, seed):
        size = len(ids_by_group[name])
        if (2 * offset + size) * folds // (2 * len(group_by_id)) == fold:
            selected.update(ids_by_group[name])
        offset += size
    return selected


def _ids_by_label(label_by_id: Mapping[str, _Label]) -> dict[_Label, list[str]]:
    ids_by_label: dict[_Label, list[str]] = {}
    for name, label in label_by_id.items():
        ids_by_label.setdefault(label, []).append(name)
    return ids_by_label


def _iterate_strata(stratum_by_id: Mapping[str, int]) -> Iterator[tuple[list[str], int]]:
    """Yield the identifiers of each stratum, and the number of identifiers in all previous strata."""
    offset = 0
    for _, ids in sorted(_ids_by_label(stratum_by_id).items()):
        yield ids, offset
        offset += len(ids)
