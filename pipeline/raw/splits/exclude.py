"""Samples that are known to be bad and left out, each with its reason."""

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pipeline.core.errors import Problem
from pipeline.raw.samples import Sample
from pipeline.raw.splits.assign import shard_of

_CLOSE = 3  # identifiers that a message offers


@dataclass(frozen=True)
class Excluded:
    """A sample that is left out of all splits.

    Parameters
    ----------
    sample : Sample, optional
        None where its files do not pair, so that there is no whole sample.
    split : str, optional
        The split that it would be in. None where its files do not pair.
    """

    id: str
    reason: str
    sample: Sample | None = None
    split: str | None = None


def unknown_ids(exclude: Mapping[str, str], known: Collection[str], dataset: str) -> list[Problem]:
    """List the excluded identifiers that no sample has, with those that may have been meant."""
    problems = []
    for name in sorted(exclude.keys() - set(known)):
        close = difflib.get_close_matches(name, sorted(known), n=_CLOSE)
        problems.append(
            Problem(
                f"data set {dataset!r}, `exclude`",
                f"the identifier {name!r}, which no sample has",
                "identifiers of samples (`python -m pipeline splits` lists them)",
                f"did you mean {', '.join(map(repr, close))}? Else remove it" if close else "correct or remove it",
                kind="exclude",
            )
        )
    return problems


def leave_out(
    splits: Mapping[str, list[Sample]], exclude: Mapping[str, str]
) -> tuple[dict[str, list[Sample]], tuple[Excluded, ...]]:
    """Take the excluded samples out of the splits, once these are assigned: no other sample changes its split.

    Returns
    -------
    splits : dict of str to list of Sample
        What is left.
    excluded : tuple of Excluded
        Sorted by identifier, with the reasons of `exclude`; those that stand in no split come without sample.
    """
    found = {
        sample.id: Excluded(sample.id, exclude[sample.id], sample, split)
        for split, samples in splits.items()
        for sample in samples
        if sample.id in exclude
    }
    left = {split: [sample for sample in samples if sample.id not in exclude] for split, samples in splits.items()}
    return left, tuple(found.get(name) or Excluded(name, reason) for name, reason in sorted(exclude.items()))


def concerning(excluded: Collection[Excluded], split: str, shard: int, shards: int) -> dict[str, str]:
    """Return the exclusions that one shard has to know, as identifier to reason.

    They are those of the samples that would be in it, and those of files that do not pair, which stop every listing.
    What else is excluded changes nothing in the shard.
    """
    return {
        item.id: item.reason
        for item in excluded
        if item.split is None or (item.split == split and shard_of(item.id, shards) == shard)
    }
