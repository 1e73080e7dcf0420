"""A raw data set as the stages see it: a layout's samples, their meaning and their splits."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.core.counts import SOFT_CUT
from pipeline.core.errors import Problem, RawDataError
from pipeline.core.fingerprint import short_digest
from pipeline.raw.decode.labels import BLACK_AND_WHITE, Labels
from pipeline.raw.decode.masks import ClassMask, decode_runs, merge
from pipeline.raw.decode.palette import Colour
from pipeline.raw.samples import MARKER, ListingError, Sample
from pipeline.raw.source import Source
from pipeline.raw.splits.assign import assign_shards, assign_splits, files_read
from pipeline.raw.splits.exclude import Excluded, concerning, leave_out, unknown_ids
from pipeline.raw.splits.names import OUT_OF_FOLD, SPLITS, TRAIN, VALIDATION
from pipeline.raw.splits.shares import foreground_shares, stratum_of


@dataclass(frozen=True)
class RawDataset:
    """A listed data set. Nothing is decoded until a mask is asked for.

    Parameters
    ----------
    source : Source
        Where it lies and how it was listed.
    labels : Labels
        What its masks mean.
    splits : dict of str to list of Sample
        train, validation, test, unlabelled; each sorted by identifier.
    synthetic : bool
        Whether a program made this data set (`pipeline.raw.synthetic`).
    excluded : tuple of Excluded
        Samples that are left out of all splits, with their reasons.
    tables : tuple of str
        Files that belong to no single sample and are read all the same: tables of groups and of metadata, lists.
    """

    name: str
    source: Source
    labels: Labels
    splits: dict[str, list[Sample]]
    synthetic: bool
    excluded: tuple[Excluded, ...] = ()
    tables: tuple[str, ...] = ()

    @property
    def layout(self) -> str:
        """The word of its layout."""
        return self.source.layout.layout

    @property
    def root(self) -> Path:
        """The raw folder."""
        return Path(self.source.root)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, background first."""
        return self.labels.classes

    @property
    def colours(self) -> tuple[Colour, ...]:
        """The colour that each class is shown in, RGB 0..255."""
        return self.labels.colours

    @property
    def mask_kind(self) -> str:
        """``"index"`` where mask pixels are class indices, ``"soft"`` where they are probabilities (255 is 1)."""
        return self.source.mask_kind

    @property
    def multiclass(self) -> bool:
        """Whether there is more than one foreground class: masks and predictions are then class indices."""
        return len(self.classes) > 2

    @property
    def origin(self) -> str:
        """What every result made from this data set says about it: ``"synthetic"`` or ``"raw files"``."""
        return "synthetic" if self.synthetic else "raw files"

    @property
    def pool(self) -> list[Sample]:
        """Training and validation samples together, sorted by identifier: what folds are parts of."""
        return sorted([*self.splits[TRAIN], *self.splits[VALIDATION]], key=lambda sample: sample.id)

    def shard_members(self, split: str) -> dict[int, list[Sample]]:
        """Return the non-empty shards of a split, by number."""
        return self._members[split]

    @cached_property
    def _members(self) -> dict[str, dict[int, list[Sample]]]:
        """Shards of all splits: every job of a large data set asks for them, so they are assigned once."""
        return {split: assign_shards(samples, self.source.shards) for split, samples in self.splits.items()}

    def exclusions(self, split: str, shard: int) -> dict[str, str]:
        """Return what one shard has to know of `excluded`: what else is excluded must not build it again."""
        return concerning(self.excluded, split, shard, self.source.shards)

    def digest(self, split: str) -> str:
        """Return a short text that changes when the members of a split do."""
        samples = self.splits[split]
        return short_digest("\n".join(text for sample in samples for text in (sample.id, *sample.files)))

    def read_truth(self, sample: Sample, contents: Mapping[str, bytes] | None = None) -> ClassMask:
        """Read a labelled sample's mask: (H, W) class indices, `VOID` where pixels do not count; or soft, 0..255.

        Masks of single objects are merged. `contents` are the bytes of the sample's files where they were read already.

        Raises
        ------
        RawDataError
            If a mask cannot be used, or masks to merge differ in size.
        """
        contents = contents or {}
        if sample.more_masks:
            masks = [self.labels.meaning.read(path, contents.get(path), sample.page) for path in sample.mask_files]
            return merge(masks, sample.mask_files)
        if sample.mask is not None:
            read = self.labels.meaning.read_soft if self.mask_kind == "soft" else self.labels.meaning.read
            return read(sample.mask, contents.get(sample.mask), sample.page)
        if sample.mask_codes is None or self.labels.tile is None:
            raise ValueError(f"sample {sample.id!r} has no mask")
        mask = decode_runs(sample.mask_codes, *self.labels.tile, where=f"{sample.codes_file}, id {sample.id}")
        return mask * np.uint8(255) if self.mask_kind == "soft" else mask

    def read_foreground(self, sample: Sample) -> ClassMask:
        """Read a labelled sample's two-class mask as (H, W) of {0, 1, VOID}; soft masks are foreground above 127."""
        return self.as_classes(self.read_truth(sample))

    def as_classes(self, truth: ClassMask) -> ClassMask:
        """Return class indices for what `read_truth` gives."""
        return (truth > SOFT_CUT).astype(np.uint8) if self.mask_kind == "soft" else truth

    @property
    def binarization(self) -> str:
        """How a mask became two-valued for scoring, in words."""
        return f"soft mask > {SOFT_CUT}" if self.mask_kind == "soft" else "two-valued mask"

    def read_fov(self, sample: Sample, data: bytes | None = None) -> ClassMask | None:
        """Read a sample's field of view as (H, W) of {0, 1}, or None where there is none."""
        return None if sample.fov is None else BLACK_AND_WHITE.read(sample.fov, data, sample.page)

    def read_observer(self, sample: Sample) -> ClassMask:
        """Read the second observer's mask as (H, W) class indices."""
        if sample.observer is None or self.labels.observer_meaning is None:
            raise ValueError(f"sample {sample.id!r} has no second observer")
        return self.labels.observer_meaning.read(sample.observer)


class Opened(NamedTuple):
    """A data set as far as it can be listed.

    Parameters
    ----------
    dataset : RawDataset
        What pairs, in its splits.
    problems : tuple of Problem
        What keeps the rest of it from being listed, or from being assigned to splits.
    unplaced : tuple of Sample
        Samples that stand in no split because of those problems.
    """

    dataset: RawDataset
    problems: tuple[Problem, ...]
    unplaced: tuple[Sample, ...]


def open_dataset(name: str, source: Source) -> RawDataset:
    """List a raw folder and assign its samples to splits; `name` is that of the data set, for messages and files.

    Raises
    ------
    RawDataError
        Listing everything that is missing or does not pair.
    """
    opened = open_leniently(name, source)
    if opened.problems:
        raise RawDataError(opened.problems)
    return opened.dataset


def open_leniently(name: str, source: Source) -> Opened:
    """List as much of a raw folder as can be listed; what cannot is told beside it. See `open_dataset`."""
    folder, left_out = Path(source.root), source.exclude
    problems: list[Problem] = []
    samples: Sequence[Sample] = ()
    try:
        samples = source.layout.list_samples(folder, name)
    except RawDataError as error:
        samples = error.samples if isinstance(error, ListingError) else ()
        problems += error.problems
    problems += _no_texts(samples)
    unpaired = {problem.sample for problem in problems if problem.sample is not None}
    problems = [problem for problem in problems if problem.sample not in left_out]
    if samples or unpaired:  # else no identifier could be known
        problems += unknown_ids(left_out, unpaired | {sample.id for sample in samples}, name)
    placed = [sample for sample in samples if sample.id not in unpaired]
    unplaced = [sample for sample in samples if sample.id in unpaired and sample.id not in left_out]
    tables = (*files_read(source.test, source.validation), *source.layout.tables)
    dataset = RawDataset(
        name=name,
        source=source,
        labels=source.layout.describe(),
        splits={split: [] for split in SPLITS},
        synthetic=(folder / MARKER).exists(),
        tables=tuple(str(folder / name) for name in tables),
    )
    try:
        strata = partial(measure_strata, dataset, left_out=left_out, cache=source.cache)
        assigned = assign_splits(placed, name, source.test, source.validation, root=folder, strata=strata)
        splits, excluded = leave_out(assigned, left_out)
        problems += _nothing_left(splits, excluded, name)
        dataset = replace(dataset, splits=splits, excluded=excluded)
    except RawDataError as error:  # where the listing fails, this may be no more than what follows from it
        problems += [] if problems else error.problems
        unplaced += [sample for sample in placed if sample.id not in left_out]
        by_id = {sample.id: sample for sample in placed}
        left = tuple(Excluded(key, reason, by_id.get(key)) for key, reason in sorted(left_out.items()))
        dataset = replace(dataset, excluded=left)
    return Opened(dataset, tuple(problems), tuple(unplaced))


def measure_strata(
    dataset: RawDataset, labelled: Sequence[Sample], *, left_out: Collection[str], cache: str | None
) -> Mapping[str, int]:
    """Find the stratum of labelled samples, by the foreground share of their masks; of those that are left out it is 0.

    Parameters
    ----------
    left_out : collection of str
        Identifiers of samples whose masks may be damaged.
    cache : str, optional
        See `pipeline.raw.splits.shares.foreground_shares`.

    Raises
    ------
    RawDataError
        Listing every mask that cannot be read.
    """
    shares = foreground_shares(
        [sample for sample in labelled if sample.id not in left_out],
        dataset.read_truth,
        meaning=repr((dataset.labels.meaning, dataset.mask_kind)),
        soft=dataset.mask_kind == "soft",
        cache=None if cache is None else Path(cache),
        what=dataset.name,
    )
    return {sample.id: stratum_of(shares.get(sample.id, 0.0)) for sample in labelled}


def _no_texts(samples: Sequence[Sample]) -> list[Problem]:
    """Complain about names that no table, shard or page can hold: bytes that are no UTF-8, as in old archives."""
    return [
        Problem(
            path.encode("utf-8", "backslashreplace").decode(),
            "a name of bytes that are no UTF-8 text",
            "names in UTF-8",
            "rename the file; `convmv` renames whole folders from another encoding",
            kind="name",
            sample=sample.id,
        )
        for sample in samples
        for path in (*sample.files, *sample.observer_files)
        if not path.isascii() and path != path.encode("utf-8", "replace").decode()
    ]


def _nothing_left(splits: Mapping[str, list[Sample]], excluded: Sequence[Excluded], name: str) -> list[Problem]:
    if splits[TRAIN] or not any(item.split == TRAIN for item in excluded):
        return []
    return [
        Problem(
            f"data set {name!r}, `exclude`",
            "every training sample",
            "at least one labelled sample to train on",
            "exclude fewer samples",
            kind="exclude",
        )
    ]


def same_size(
    sample: Sample, what: Path | str, plane: NDArray[np.uint8] | None, size: tuple[int, int]
) -> Problem | None:
    """Compare the size of a mask or field of view with its image's; return what is wrong, or None."""
    if plane is None or plane.shape == size:
        return None
    return Problem(
        str(what),
        f"{plane.shape[1]}x{plane.shape[0]} pixels, while {sample.image} has {size[1]}x{size[0]}",
        "mask and image of the same size (width x height)",
        "export the mask again at the size of its image, or leave the sample out (`exclude`)",
        kind="size",
    )


def require_samples(dataset: RawDataset, split: str) -> list[Sample]:
    """Return the samples of a split, or of `OUT_OF_FOLD`, which must not be empty."""
    samples = dataset.pool if split == OUT_OF_FOLD else dataset.splits[split]
    if not samples:
        raise RawDataError(
            f"data set {dataset.name!r}",
            f"no sample in split {split!r}",
            "at least one",
            "check `test` and `validation`",
        )
    return samples
