"""Which sample belongs to which split and to which shard: stable under added, removed and renamed files."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import Problem, RawDataError
from pipeline.raw.samples import Sample
from pipeline.raw.splits import draws
from pipeline.raw.splits.groups import find_groups
from pipeline.raw.splits.lists import take_listed
from pipeline.raw.splits.methods import (
    Drawn,
    DrawnTest,
    DrawnValidation,
    FoldSplit,
    ListedSplit,
    Method,
    OfficialSplit,
)
from pipeline.raw.splits.names import SPLITS, TEST, TRAIN, UNLABELLED, VALIDATION

Strata = Callable[[Sequence[Sample]], Mapping[str, int]]
"""Gives the stratum of labelled samples, by identifier."""


def assign_splits(
    samples: Sequence[Sample],
    dataset: str,
    test: Method | None = None,
    validation: Method | None = None,
    *,
    root: Path | str = ".",
    strata: Strata | None = None,
) -> dict[str, list[Sample]]:
    """Assign each sample to one of train, validation, test, unlabelled.

    Parameters
    ----------
    dataset : str
        Name of the data set, for messages.
    test, validation : Method, optional
        How test samples are taken from all labelled ones, and validation samples from what is left; see
        `pipeline.raw.splits.draws` and `take_listed`. None leaves the split empty. Unless they are asked for, official
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
    if labelled and any(isinstance(method, Drawn) and method.stratify for method in (test, validation)):
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
            "add labelled pictures, or give fewer of them to `test` and `validation`",
        )
    by_id = {sample.id: sample for sample in samples}
    return {split: [by_id[name] for name in sorted(members[split])] for split in SPLITS}


def files_read(*methods: Method | None) -> list[str]:
    """Return the files that methods of `assign_splits` read, lists and tables of groups, absolute or below the root."""
    lists = [method.file for method in methods if isinstance(method, ListedSplit)]
    groups = [method.group for method in methods if isinstance(method, Drawn) and method.group is not None]
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

    def take(self, samples: Mapping[str, Sample], split: str, method: Method | None) -> set[str]:
        """Return the identifiers of one split, taken from `samples` (by identifier) as `method` says.

        Raises
        ------
        RawDataError
            See `assign_splits`.
        """
        if method is None or not samples:
            return set()
        match method:
            case OfficialSplit():
                return _take_official(samples, split, self.dataset)
            case ListedSplit():
                return take_listed(self.root / method.file, samples.values(), split)
            case DrawnTest(method="permutation"):
                return draws.take_permutation(samples, method.fraction, method.seed)
            case FoldSplit():
                return self._fold(samples, split, method)
            case _:
                return self._fraction(samples, split, method)

    def _fraction(self, samples: Mapping[str, Sample], split: str, method: DrawnTest | DrawnValidation) -> set[str]:
        fraction, seed = method.fraction, method.seed
        if method.group is None:  # samples as they come are one stratum
            strata = {name: self.strata[name] if method.stratify else 0 for name in samples}
            return draws.take_fraction(strata, fraction, seed)
        groups = find_groups(samples.values(), method.group, self.root)
        taken = draws.take_fraction_of_groups(groups, fraction, seed)
        if fraction and not taken:
            raise RawDataError(
                f"data set {self.dataset!r}, `{split}`",
                f"{len(set(groups.values()))} groups of {len(samples)} labelled samples, each of which is more than "
                f"twice the wanted {fraction * len(samples):g}",
                "at least one group that fits",
                "raise `fraction`, or choose smaller groups",
            )
        return taken

    def _fold(self, samples: Mapping[str, Sample], split: str, method: FoldSplit) -> set[str]:
        which = (method.folds, method.fold, method.seed)
        what = f"{len(samples)} labelled samples"
        if method.stratify:
            taken = draws.take_fold_of_strata({name: self.strata[name] for name in samples}, *which)
        elif method.group is not None:
            groups = find_groups(samples.values(), method.group, self.root)
            what += f" in {len(set(groups.values()))} groups"
            taken = draws.take_fold_of_groups(groups, *which)
        else:
            taken = draws.take_fold(samples, *which)
        if not taken:
            raise RawDataError(
                f"data set {self.dataset!r}, `{split}`",
                f"{method.folds} folds of {what}: fold {method.fold} is empty",
                "at least one sample in every fold",
                "lower `folds`, or add labelled pictures",
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
    return draws.stable_hash(name) % shards


def assign_shards(samples: Iterable[Sample], shards: int) -> dict[int, list[Sample]]:
    """Distribute the samples of one split over shards; only shards that hold something are listed."""
    members: dict[int, list[Sample]] = {}
    for sample in samples:
        members.setdefault(shard_of(sample.id, shards), []).append(sample)
    return dict(sorted(members.items()))
