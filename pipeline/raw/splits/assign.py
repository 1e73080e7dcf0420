"""Which sample belongs to which split and to which shard: stable under added, removed and renamed files."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from pipeline.core.errors import Problem, RawDataError
from pipeline.raw.samples import Sample
from pipeline.raw.splits.draws import (
    stable_hash,
    take_fold,
    take_fold_of_groups,
    take_fold_of_strata,
    take_fraction,
    take_fraction_of_groups,
    take_fraction_of_strata,
    take_permutation,
)
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
from pipeline.raw.splits.shares import stratum_of

Shares = Callable[[Sequence[Sample]], Mapping[str, float]]
"""Gives the foreground share of labelled samples, 0 to 1, by identifier."""


def assign_splits(
    samples: Sequence[Sample],
    dataset: str,
    test: Method | None = None,
    validation: Method | None = None,
    *,
    root: Path | str = ".",
    shares: Shares | None = None,
) -> dict[str, list[Sample]]:
    """Assign each sample to one of train, validation, test, unlabelled.

    Parameters
    ----------
    samples : sequence of Sample
    dataset : str
        Name of the data set, for messages.
    test, validation : Method, optional
        How test samples are taken from all labelled ones, and validation samples from what is left. None leaves the
        split empty. See `take_listed`, `take_permutation`, and, for samples as they come, from strata and in groups,
        `take_fraction`, `take_fraction_of_strata`, `take_fraction_of_groups`, `take_fold`, `take_fold_of_strata` and
        `take_fold_of_groups`. Unless they are asked for, official validation samples count as training samples.
    root : Path
        The raw folder.
    shares : callable, optional
        Measures foreground shares; called once, and only where strata are asked for.

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
    strata: Mapping[str, int] = {}
    if labelled and any(isinstance(method, Drawn) and method.stratify for method in (test, validation)):
        if shares is None:
            raise ValueError("strata need foreground shares")
        strata = {name: stratum_of(share) for name, share in shares(list(labelled.values())).items()}
    test_ids = _take(labelled, TEST, test, dataset, root, strata)
    listed_twice: Mapping[str, Sample] = {}
    if isinstance(validation, ListedSplit):
        listed_twice = {name: labelled[name] for name in test_ids}
    rest = {name: sample for name, sample in labelled.items() if name not in test_ids}
    validation_ids = _take({**rest, **listed_twice}, VALIDATION, validation, dataset, root, strata)
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


def _take(
    samples: Mapping[str, Sample],
    split: str,
    method: Method | None,
    dataset: str,
    root: Path | str,
    strata: Mapping[str, int],
) -> set[str]:
    """Take the members of one split from labelled samples, by the method that was asked for."""
    if method is None or not samples:
        return set()
    match method:
        case OfficialSplit():
            return _take_official(samples, split, dataset)
        case ListedSplit():
            return take_listed(Path(root) / method.file, samples.values(), split)
        case DrawnTest(method="permutation"):
            return take_permutation(samples, method.fraction, method.seed)
        case FoldSplit():
            return draw_fold(samples, split, method, dataset, root, strata)
        case _:
            return _draw_fraction(samples, split, method, dataset, root, strata)


def _draw_fraction(
    samples: Mapping[str, Sample],
    split: str,
    method: DrawnTest | DrawnValidation,
    dataset: str,
    root: Path | str,
    strata: Mapping[str, int],
) -> set[str]:
    fraction, seed = method.fraction, method.seed
    if method.stratify:
        return take_fraction_of_strata({name: strata[name] for name in samples}, fraction, seed)
    if method.group is None:
        return take_fraction(samples, fraction, seed)
    groups = find_groups(samples.values(), method.group, Path(root))
    taken = take_fraction_of_groups(groups, fraction, seed)
    if fraction and not taken:
        raise RawDataError(
            f"data set {dataset!r}, `{split}`",
            f"{len(set(groups.values()))} groups of {len(samples)} labelled samples, each of which is more than "
            f"twice the wanted {fraction * len(samples):g}",
            "at least one group that fits",
            "raise `fraction`, or choose smaller groups",
        )
    return taken


def draw_fold(
    samples: Mapping[str, Sample],
    split: str,
    method: FoldSplit,
    dataset: str,
    root: Path | str,
    strata: Mapping[str, int],
) -> set[str]:
    """Take one of several folds of labelled samples.

    Parameters
    ----------
    samples : mapping of str to Sample
        By identifier.
    split, dataset : str
        What the fold is for, for messages.
    method : FoldSplit
    root : Path
        The raw folder.
    strata : mapping of str to int
        Identifier to stratum, where strata are asked for.

    Returns
    -------
    set of str
        Identifiers.

    Raises
    ------
    RawDataError
        If the fold is empty, or groups cannot be told.
    """
    folds, fold, seed = method.folds, method.fold, method.seed
    what = f"{len(samples)} labelled samples"
    if method.stratify:
        taken = take_fold_of_strata({name: strata[name] for name in samples}, folds, fold, seed)
    elif method.group is not None:
        groups = find_groups(samples.values(), method.group, Path(root))
        what += f" in {len(set(groups.values()))} groups"
        taken = take_fold_of_groups(groups, folds, fold, seed)
    else:
        taken = take_fold(samples, folds, fold, seed)
    if not taken:
        raise RawDataError(
            f"data set {dataset!r}, `{split}`",
            f"{folds} folds of {what}: fold {fold} is empty",
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
    return stable_hash(name) % shards


def assign_shards(samples: Iterable[Sample], shards: int) -> dict[int, list[Sample]]:
    """Distribute the samples of one split over shards; only shards that hold something are listed."""
    members: dict[int, list[Sample]] = {}
    for sample in samples:
        members.setdefault(shard_of(sample.id, shards), []).append(sample)
    return dict(sorted(members.items()))
