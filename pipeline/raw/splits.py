"""Which sample belongs to which split and to which shard: stable under added, removed and renamed files."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.errors import Problem, RawDataError
from pipeline.raw.samples import Sample

TRAIN, VALIDATION, TEST, UNLABELLED = "train", "validation", "test", "unlabelled"
SPLITS = (TRAIN, VALIDATION, TEST, UNLABELLED)


def stable_hash(*parts: object) -> int:
    """Hash text to 64 bits, the same on every machine and in every run (SHA-256, first 8 bytes)."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()[:8], "big")


def take_fraction(ids: Iterable[str], fraction: float, seed: int) -> set[str]:
    """Take round(fraction * n) of the identifiers, those whose seeded hash ranks first.

    Adding one identifier moves at most one other across the line, because the order of the rest stays.

    Parameters
    ----------
    ids : iterable of str
    fraction : float
        0 to 1.
    seed : int
        Another seed ranks the identifiers in another order.
    """
    ranked = sorted(ids, key=lambda name: (stable_hash(seed, name), name))
    return set(ranked[: round(fraction * len(ranked))])


def take_permutation(ids: Iterable[str], fraction: float, seed: int) -> set[str]:
    """Take the first round(fraction * n) of a seeded permutation of the sorted identifiers.

    This is scikit-learn's ``train_test_split`` order: ``RandomState(seed).permutation(n)``, test first. One added
    file reshuffles everything; it is here to reproduce a published split.
    """
    ordered = sorted(ids)
    order = np.random.RandomState(seed).permutation(len(ordered))
    return {ordered[index] for index in order[: round(fraction * len(ordered))]}


def assign_splits(
    samples: Sequence[Sample],
    dataset: str,
    test: Mapping[str, Any] | None = None,
    validation: Mapping[str, Any] | None = None,
) -> dict[str, list[Sample]]:
    """Assign each sample to one of train, validation, test, unlabelled.

    Parameters
    ----------
    samples : sequence of Sample
    dataset : str
        Name of the data set, for messages.
    test : mapping, optional
        ``{"method": "official"}``, or ``{"method": "fraction" | "permutation", "fraction": f, "seed": s}`` over
        all labelled samples. None leaves the test split empty.
    validation : mapping, optional
        ``{"fraction": f, "seed": s}``, taken by `take_fraction` from what is left. None leaves it empty.

    Returns
    -------
    dict of str to list of Sample
        All four splits, each sorted by identifier, possibly empty. Unlabelled samples form their own.

    Raises
    ------
    RawDataError
        If no labelled sample is left to train on.
    """
    labelled = {sample.id: sample for sample in samples if sample.labelled}
    test_ids = _take_test(labelled, test)
    rest = labelled.keys() - test_ids
    validation_ids: set[str] = set()
    if validation is not None:
        validation_ids = take_fraction(rest, validation["fraction"], validation["seed"])
    members = {
        TRAIN: rest - validation_ids,
        VALIDATION: validation_ids,
        TEST: test_ids,
        UNLABELLED: {sample.id for sample in samples if not sample.labelled},
    }
    if not members[TRAIN]:
        raise RawDataError(
            Problem(
                f"data set {dataset!r}",
                f"{len(labelled)} labelled samples, {len(test_ids)} of them test and {len(validation_ids)} validation",
                "at least one labelled sample to train on",
                "add labelled pictures, or lower the fractions of `test` and `validation`",
            )
        )
    by_id = {sample.id: sample for sample in samples}
    return {split: [by_id[name] for name in sorted(members[split])] for split in SPLITS}


def _take_test(labelled: Mapping[str, Sample], test: Mapping[str, Any] | None) -> set[str]:
    if test is None:
        return set()
    if test["method"] == "official":
        return {name for name, sample in labelled.items() if sample.official_split == "test"}
    if test["method"] == "permutation":
        return take_permutation(labelled, test["fraction"], test["seed"])
    return take_fraction(labelled, test["fraction"], test["seed"])


def shard_of(name: str, shards: int) -> int:
    """Return the shard (0 to shards - 1) that an identifier belongs to, whatever else there is."""
    return stable_hash(name) % shards


def assign_shards(samples: Iterable[Sample], shards: int) -> dict[int, list[Sample]]:
    """Distribute the samples of one split over shards; only shards that hold something are listed."""
    members: dict[int, list[Sample]] = {}
    for sample in samples:
        members.setdefault(shard_of(sample.id, shards), []).append(sample)
    return dict(sorted(members.items()))
