"""Which sample belongs to which split and to which shard: stable under added, removed and renamed files."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import Problem, RawDataError
from pipeline.raw.samples import Sample
from pipeline.raw.splits import sampling
from pipeline.raw.splits.groups import find_groups
from pipeline.raw.splits.lists import take_listed
from pipeline.raw.splits.names import SPLITS, TEST, TRAIN, UNLABELLED, VALIDATION
from pipeline.raw.splits.rules import (
    FoldSplit,
    ListedSplit,
    OfficialSplit,
    RandomTest,
    RandomValidation,
    Rule,
    Sampling,
)

Strata = Callable[[Sequence[Sample]], Mapping[str, int]]
"""Gives the stratum of labelled samples, by identifier."""


def assign_splits(
    samples: Sequence[Sample],
    dataset: str,
    test: Rule | None = None,
    validation: Rule | None = None,
    *,
    root: Path | str = ".",
    strata: Strata | None = None,
) -> dict[str, list[Sample]]:
    """Assign each sample to one of train, validation, test, unlabelled.

    Parameters
    ----------
    dataset : str
        Name of the data set, for messages.
    test, validation : Rule, optional
        How test samples are taken from all labelled ones, and validation samples from what is left; see
        `pipeline.raw.splits.sampling` and `take_listed`. None leaves it empty. Unless they are asked for, official
        validation samples count as training samples.
    root : Path
        The raw folder.
    strata : callable, optional
        Called once, and only where strata are asked for.

    Returns
    -------
    dict of str to list of Sample
        All four splits, each sorted by identifier, possibly empty. Unlabelled samples form their own.

    Raises
    ------
    RawDataError
        If there are labelled samples and none is left to train on, if a fold is empty, if every group is too large,
        if the official validation samples are asked for and there are none, for a list or table of groups that cannot
        be used, or for masks that cannot be read where strata are asked for.
    """
    labelled = {sample.id: sample for sample in samples if sample.labelled}
    known: Mapping[str, int] = {}
    if labelled and any(isinstance(rule, Sampling) and rule.stratify for rule in (test, validation)):
        if strata is None:
            raise ValueError("nothing gives the strata")
        known = strata(list(labelled.values()))
    drawing = Drawing(dataset, Path(root), known)
    test_ids = drawing.take(labelled, TEST, test)
    rest = {name: sample for name, sample in labelled.items() if name not in test_ids}
    # a list may name test samples, which is refused below
    validation_ids = drawing.take(labelled if isinstance(validation, ListedSplit) else rest, VALIDATION, validation)
    if both := sorted(validation_ids & test_ids):
        raise RawDataError(_in_both(both, dataset))
    unlabelled = {sample.id for sample in samples if not sample.labelled}
    members = {
        TRAIN: rest.keys() - validation_ids,
        VALIDATION: validation_ids,
        TEST: test_ids,
        UNLABELLED: unlabelled,
    }
    if not members[TRAIN] and (labelled or not unlabelled):
        raise RawDataError(
            f"data set {dataset!r}",
            f"{len(labelled)} labelled samples, {len(test_ids)} of them test and {len(validation_ids)} validation",
            "at least one labelled sample to train on",
            "add labelled images, or give fewer of them to `test` and `validation`",
        )
    by_id = {sample.id: sample for sample in samples}
    return {split: [by_id[name] for name in sorted(members[split])] for split in SPLITS}


def files_read(*rules: Rule | None) -> list[str]:
    """Return the files that rules of `assign_splits` read, lists and tables of groups, absolute or below the root."""
    lists = [rule.file for rule in rules if isinstance(rule, ListedSplit)]
    groups = [rule.group for rule in rules if isinstance(rule, Sampling) and rule.group is not None]
    return list(dict.fromkeys([*lists, *(group.file for group in groups if group.file is not None)]))


@dataclass(frozen=True)
class Drawing:
    """Takes the members of splits from labelled samples.

    Parameters
    ----------
    dataset : str
        Its name, for messages.
    root : Path
        The raw folder.
    strata : mapping of str to int
        Identifier to stratum, where strata are asked for.
    """

    dataset: str
    root: Path
    strata: Mapping[str, int]

    def take(self, samples: Mapping[str, Sample], split: str, rule: Rule | None) -> set[str]:
        """Return the identifiers of one split, taken from `samples` (by identifier) as `rule` says.

        Raises
        ------
        RawDataError
            See `assign_splits`.
        """
        if rule is None or not samples:
            return set()
        match rule:
            case OfficialSplit():
                return _take_official(samples, split, self.dataset)
            case ListedSplit():
                return take_listed(self.root / rule.file, samples.values(), split)
            case RandomTest(rule="permutation"):
                return sampling.take_permutation(samples, rule.fraction, rule.seed)
            case FoldSplit():
                return self._fold(samples, split, rule)
            case _:
                return self._fraction(samples, split, rule)

    def _fraction(self, samples: Mapping[str, Sample], split: str, rule: RandomTest | RandomValidation) -> set[str]:
        fraction, seed = rule.fraction, rule.seed
        if rule.group is None:  # samples as they come are one stratum
            strata = {name: self.strata[name] if rule.stratify else 0 for name in samples}
            return sampling.take_fraction(strata, fraction, seed)
        groups = find_groups(samples.values(), rule.group, self.root)
        taken = sampling.take_fraction_of_groups(groups, fraction, seed)
        if fraction and not taken:
            raise RawDataError(
                f"data set {self.dataset!r}, `{split}`",
                f"{len(set(groups.values()))} groups of {len(samples)} labelled samples, each of which is more than "
                f"twice the wanted {fraction * len(samples):g}",
                "at least one group that fits",
                "raise `fraction`, or choose smaller groups",
            )
        return taken

    def _fold(self, samples: Mapping[str, Sample], split: str, rule: FoldSplit) -> set[str]:
        which = (rule.folds, rule.fold, rule.seed)
        what = f"{len(samples)} labelled samples"
        if rule.stratify:
            taken = sampling.take_fold_of_strata({name: self.strata[name] for name in samples}, *which)
        elif rule.group is not None:
            groups = find_groups(samples.values(), rule.group, self.root)
            what += f" in {len(set(groups.values()))} groups"
            taken = sampling.take_fold_of_groups(groups, *which)
        else:
            taken = sampling.take_fold(samples, *which)
        if not taken:
            raise RawDataError(
                f"data set {self.dataset!r}, `{split}`",
                f"{rule.folds} folds of {what}: fold {rule.fold} is empty",
                "at least one sample in every fold",
                "lower `folds`, or add labelled images",
            )
        return taken


def _take_official(samples: Mapping[str, Sample], split: str, dataset: str) -> set[str]:
    taken = {name for name, sample in samples.items() if sample.official_split == split}
    if split == VALIDATION and not taken:  # test samples may be published without masks: those may be none
        raise RawDataError(
            f"data set {dataset!r}, `validation: official`",
            f"{len(samples)} labelled samples, none of which the data set calls a validation sample",
            "at least one",
            "set `validation: {fraction: 0.2}`, or add the validation samples of the data set",
        )
    return taken


def _in_both(names: Sequence[str], dataset: str) -> list[Problem]:
    return [
        Problem(
            f"data set {dataset!r}, sample {name!r}",
            "a test sample that the list of `validation` names too",
            "validation samples that are no test samples",
            "remove it from the list, or change `test`",
        )
        for name in names
    ]


def shard_of(name: str, shards: int) -> int:
    """Return the shard (0 to shards - 1) that an identifier belongs to, whatever else there is."""
    return sampling.stable_hash(name) % shards


def assign_shards(samples: Iterable[Sample], shards: int) -> dict[int, list[Sample]]:
    """Distribute the samples of one split over shards; only shards that hold something are listed."""
    members: dict[int, list[Sample]] = {}
    for sample in samples:
        members.setdefault(shard_of(sample.id, shards), []).append(sample)
    return dict(sorted(members.items()))
