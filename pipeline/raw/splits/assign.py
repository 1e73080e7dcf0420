"""Assign samples to splits and shards, stably when files are added, removed or renamed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import Problem, RawDataError, plural
from pipeline.raw.samples import Sample
from pipeline.raw.splits import sampling
from pipeline.raw.splits.groups import find_groups
from pipeline.raw.splits.lists import select_listed
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
"""Returns the stratum of labelled samples, by identifier."""


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
        Rules that select test samples from all labelled ones, and validation samples from the remaining ones; see
        `pipeline.raw.splits.sampling` and `select_listed`. None leaves the split empty. Official validation samples
        are training samples unless the rule of `validation` is official.
    root : Path
        The raw folder.
    strata : callable, optional
        Called at most once, if a rule is stratified.

    Returns
    -------
    dict of str to list of Sample
        All four splits, each sorted by identifier, possibly empty. Unlabelled samples are a split of their own.

    Raises
    ------
    RawDataError
        If no labelled sample remains for training, if a fold is empty, if every group is too large, if official
        validation samples are configured and none exist, if a list or table of groups cannot be used, or if masks
        needed for strata cannot be read.
    """
    labelled = {sample.id: sample for sample in samples if sample.labelled}
    stratum_by_id: Mapping[str, int] = {}
    if labelled and any(isinstance(rule, Sampling) and rule.stratify for rule in (test, validation)):
        if strata is None:
            raise ValueError("a stratified rule needs `strata`")
        stratum_by_id = strata(list(labelled.values()))
    assigner = SplitAssigner(dataset, Path(root), stratum_by_id)
    test_ids = assigner.select(labelled, TEST, test)
    remaining = {name: sample for name, sample in labelled.items() if name not in test_ids}
    # a list may name test samples, which is refused below
    candidates = labelled if isinstance(validation, ListedSplit) else remaining
    validation_ids = assigner.select(candidates, VALIDATION, validation)
    if common_ids := sorted(validation_ids & test_ids):
        raise RawDataError(_overlap_problems(common_ids, dataset))
    unlabelled = {sample.id for sample in samples if not sample.labelled}
    members = {
        TRAIN: remaining.keys() - validation_ids,
        VALIDATION: validation_ids,
        TEST: test_ids,
        UNLABELLED: unlabelled,
    }
    if not members[TRAIN] and (labelled or not unlabelled):
        raise RawDataError(
            f"data set {dataset!r}",
            f"{plural(len(labelled), 'labelled sample')}: {len(test_ids)} test, {len(validation_ids)} validation",
            "at least one labelled sample to train on",
            "add labelled images, or select fewer of them for `test` and `validation`",
        )
    by_id = {sample.id: sample for sample in samples}
    return {split: [by_id[name] for name in sorted(members[split])] for split in SPLITS}


def rule_files(*rules: Rule | None) -> list[str]:
    """Return the lists and tables of groups that split rules read, absolute or relative to the root."""
    lists = [rule.file for rule in rules if isinstance(rule, ListedSplit)]
    groups = [rule.group for rule in rules if isinstance(rule, Sampling) and rule.group is not None]
    return list(dict.fromkeys([*lists, *(group.file for group in groups if group.file is not None)]))


@dataclass(frozen=True)
class SplitAssigner:
    """Selects the members of splits from labelled samples.

    Parameters
    ----------
    dataset : str
        Name of the data set, for messages.
    root : Path
        The raw folder.
    stratum_by_id : mapping of str to int
        Needed by stratified rules.
    """

    dataset: str
    root: Path
    stratum_by_id: Mapping[str, int]

    def select(self, samples: Mapping[str, Sample], split: str, rule: Rule | None) -> set[str]:
        """Return the identifiers that `rule` selects for one split from `samples` (by identifier).

        Raises
        ------
        RawDataError
            See `assign_splits`.
        """
        if rule is None or not samples:
            return set()
        match rule:
            case OfficialSplit():
                return _select_official(samples, split, self.dataset)
            case ListedSplit():
                return select_listed(self.root / rule.file, samples.values(), split)
            case RandomTest(rule="permutation"):
                return sampling.select_permutation(samples, rule.fraction, rule.seed)
            case FoldSplit():
                return self._select_fold(samples, split, rule)
            case _:
                return self._select_fraction(samples, split, rule)

    def _select_fraction(
        self, samples: Mapping[str, Sample], split: str, rule: RandomTest | RandomValidation
    ) -> set[str]:
        fraction, seed = rule.fraction, rule.seed
        if rule.group is None:  # without stratification all samples are one stratum
            stratum_by_id = {name: self.stratum_by_id[name] if rule.stratify else 0 for name in samples}
            return sampling.select_fraction(stratum_by_id, fraction, seed)
        groups = find_groups(samples.values(), rule.group, self.root)
        selected = sampling.select_fraction_of_groups(groups, fraction, seed)
        if fraction and not selected:
            raise RawDataError(
                f"data set {self.dataset!r}, `{split}`",
                f"{plural(len(samples), 'labelled sample')} in {plural(len(set(groups.values())), 'group')}, each of "
                f"more than {2 * fraction * len(samples):g} samples",
                f"a group of at most {2 * fraction * len(samples):g} samples, for a split of "
                f"{fraction * len(samples):g}",
                "raise `fraction`, or choose smaller groups",
            )
        return selected

    def _select_fold(self, samples: Mapping[str, Sample], split: str, rule: FoldSplit) -> set[str]:
        fold = (rule.folds, rule.fold, rule.seed)
        candidates = f"{plural(len(samples), 'labelled sample')}"
        if rule.stratify:
            stratum_by_id = {name: self.stratum_by_id[name] for name in samples}
            selected = sampling.select_fold_of_strata(stratum_by_id, *fold)
        elif rule.group is not None:
            groups = find_groups(samples.values(), rule.group, self.root)
            candidates += f" in {plural(len(set(groups.values())), 'group')}"
            selected = sampling.select_fold_of_groups(groups, *fold)
        else:
            selected = sampling.select_fold(samples, *fold)
        if not selected:
            raise RawDataError(
                f"data set {self.dataset!r}, `{split}`",
                f"{rule.folds} folds of {candidates}: fold {rule.fold} is empty",
                "at least one sample in every fold",
                "lower `folds`, or add labelled images",
            )
        return selected


def _select_official(samples: Mapping[str, Sample], split: str, dataset: str) -> set[str]:
    selected = {name for name, sample in samples.items() if sample.official_split == split}
    if (
        split == VALIDATION and not selected
    ):  # an empty test split is allowed: masks of official test samples are often not published
        raise RawDataError(
            f"data set {dataset!r}, `validation: official`",
            f"{plural(len(samples), 'labelled sample')}, none of which is an official validation sample",
            "at least one",
            "set `validation: {fraction: 0.2}`, or add the validation samples of the data set",
        )
    return selected


def _overlap_problems(names: Sequence[str], dataset: str) -> list[Problem]:
    return [
        Problem(
            f"data set {dataset!r}, sample {name!r}",
            "a test sample that the list of `validation` contains too",
            "validation samples that are not test samples",
            "remove it from the list, or change `test`",
        )
        for name in names
    ]


def shard_of(name: str, shards: int) -> int:
    """Return the shard (0 to shards - 1) of an identifier; it depends on no other sample."""
    return sampling.stable_hash(name) % shards


def assign_shards(samples: Iterable[Sample], shards: int) -> dict[int, list[Sample]]:
    """Distribute the samples of one split over shards; empty shards are left out."""
    members: dict[int, list[Sample]] = {}
    for sample in samples:
        members.setdefault(shard_of(sample.id, shards), []).append(sample)
    return dict(sorted(members.items()))
