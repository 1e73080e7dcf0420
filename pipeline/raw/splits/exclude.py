"""Samples that the configuration excludes, each with its reason."""

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pipeline.core.errors import Problem
from pipeline.raw.samples import Sample
from pipeline.raw.splits.assign import shard_of

_MAX_SUGGESTIONS = 3  # identifiers that a message suggests


@dataclass(frozen=True)
class Excluded:
    """A sample that is excluded from all splits.

    Parameters
    ----------
    sample : Sample, optional
        None if one of its files is missing or unpaired.
    split : str, optional
        The split that it would be in. None if one of its files is missing or unpaired.
    """

    id: str
    reason: str
    sample: Sample | None = None
    split: str | None = None


def unknown_id_problems(exclude: Mapping[str, str], known_ids: Collection[str], dataset: str) -> list[Problem]:
    """List excluded identifiers that no sample has, with similar ones."""
    problems = []
    for name in sorted(exclude.keys() - set(known_ids)):
        similar_ids = difflib.get_close_matches(name, sorted(known_ids), n=_MAX_SUGGESTIONS)
        problems.append(
            Problem(
                f"data set {dataset!r}, `exclude`",
                f"the identifier {name!r}, which no sample has",
                "identifiers of samples (`python -m pipeline splits` lists them)",
                f"did you mean {', '.join(map(repr, similar_ids))}? Otherwise remove it"
                if similar_ids
                else "correct or remove it",
                kind="exclude",
            )
        )
    return problems


def apply_exclusions(
    splits: Mapping[str, list[Sample]], exclude: Mapping[str, str]
) -> tuple[dict[str, list[Sample]], tuple[Excluded, ...]]:
    """Remove excluded samples after splits are assigned, so that no other sample changes its split.

    Returns
    -------
    splits : dict of str to list of Sample
        Splits without the excluded samples.
    excluded : tuple of Excluded
        Sorted by identifier, with the reasons of `exclude`; without sample if the identifier is in no split.
    """
    excluded = {
        sample.id: Excluded(sample.id, exclude[sample.id], sample, split)
        for split, samples in splits.items()
        for sample in samples
        if sample.id in exclude
    }
    remaining = {split: [sample for sample in samples if sample.id not in exclude] for split, samples in splits.items()}
    return remaining, tuple(excluded.get(name) or Excluded(name, reason) for name, reason in sorted(exclude.items()))


def exclusions_for_shard(excluded: Collection[Excluded], split: str, shard: int, shards: int) -> dict[str, str]:
    """Return the exclusions that affect one shard, as identifier to reason.

    These are samples that would be in the shard, and samples with unpaired files, which would stop every listing.
    """
    return {
        item.id: item.reason
        for item in excluded
        if item.split is None or (item.split == split and shard_of(item.id, shards) == shard)
    }
