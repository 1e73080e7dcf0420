"""A raw data set: the samples of a layout, the meaning of their masks, and their splits."""

import os
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.core.counts import SOFT_THRESHOLD, VOID
from pipeline.core.errors import Problem, RawDataError
from pipeline.core.fingerprint import short_digest
from pipeline.raw.decode.image import DecodedFile, as_channels, read_file
from pipeline.raw.decode.labels import BLACK_AND_WHITE, Labels
from pipeline.raw.decode.masks import ClassMask, decode_rle, merge_object_masks
from pipeline.raw.decode.palette import Colour
from pipeline.raw.layouts.registry import other_layout_problem
from pipeline.raw.samples import SYNTHETIC_MARKER, ListingError, Sample
from pipeline.raw.source import Source
from pipeline.raw.splits.assign import assign_shards, assign_splits, rule_files
from pipeline.raw.splits.exclude import Excluded, apply_exclusions, exclusions_for_shard, unknown_id_problems
from pipeline.raw.splits.foreground import foreground_fractions, stratum_of
from pipeline.raw.splits.names import OUT_OF_FOLD, SPLITS, TRAIN, VALIDATION

Valid = NDArray[np.bool_]


@dataclass(frozen=True)
class RawDataset:
    """A listed data set. Masks are decoded when they are read.

    Parameters
    ----------
    source : Source
        Its raw folder, layout and split rules.
    labels : Labels
        The meaning of its mask values.
    splits : dict of str to list of Sample
        train, validation, test, unlabelled; each sorted by identifier.
    synthetic : bool
        Whether a program made this data set (`pipeline.raw.synthetic`).
    excluded : tuple of Excluded
        Samples excluded from all splits, with their reasons.
    tables : tuple of str
        Files that samples share: tables of groups and of metadata, lists of samples.
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
        """The name of its layout."""
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
        """The display colour of each class, RGB 0..255."""
        return self.labels.colours

    @property
    def mask_kind(self) -> str:
        """``"index"`` if mask pixels are class indices, ``"soft"`` if they are probabilities (255 is 1)."""
        return self.source.mask_kind

    @property
    def multiclass(self) -> bool:
        """Whether there is more than one foreground class: masks and predictions are then class indices."""
        return len(self.classes) > 2

    @property
    def has_background(self) -> bool:
        """Whether the first class is background; else it counts like any other."""
        return self.source.layout.has_background

    @property
    def foreground(self) -> slice:
        """Indices of the foreground classes: all but the first, or all classes of a data set without background."""
        return slice(int(self.has_background), None)

    @property
    def background(self) -> str:
        """The name of the background class; empty if the data set has none."""
        return self.classes[0] if self.has_background else ""

    @property
    def origin(self) -> str:
        """The origin that results of this data set report: ``"synthetic"`` or ``"raw files"``."""
        return "synthetic" if self.synthetic else "raw files"

    @property
    def pool(self) -> list[Sample]:
        """Training and validation samples together, sorted by identifier; folds are parts of them."""
        return sorted([*self.splits[TRAIN], *self.splits[VALIDATION]], key=lambda sample: sample.id)

    def shard_members(self, split: str) -> dict[int, list[Sample]]:
        """Return the samples of each non-empty shard of a split, by shard number."""
        return self._members[split]

    @cached_property
    def _members(self) -> dict[str, dict[int, list[Sample]]]:
        """Shards of all splits; cached, because every job of a large data set needs them."""
        return {split: assign_shards(samples, self.source.shards) for split, samples in self.splits.items()}

    def exclusions(self, split: str, shard: int) -> dict[str, str]:
        """Return the exclusions that affect one shard, so that no other exclusion rebuilds it."""
        return exclusions_for_shard(self.excluded, split, shard, self.source.shards)

    def digest(self, split: str) -> str:
        """Return a short digest of the identifiers and file names of the samples of a split."""
        samples = self.splits[split]
        return short_digest("\n".join(text for sample in samples for text in (sample.id, *sample.files)))

    def read_image(self, sample: Sample, channels: str, data: bytes | None = None) -> DecodedFile:
        """Read a sample's image; `data` are the contents of the file if they were read already.

        The pixels are (H, W, C); see `pipeline.raw.decode.image.as_channels`.
        """
        decoded = read_file(sample.image, data, sample.page, self.source)
        return decoded._replace(pixels=as_channels(decoded.pixels, channels, sample.image))

    def read_truth(self, sample: Sample) -> ClassMask:
        """Read a labelled sample's mask: (H, W) class indices, `VOID` for ignored pixels; or soft, 0..255.

        NoData pixels of the image are ignored (`nodata: ignore`); soft masks have no value for that.

        Raises
        ------
        RawDataError
            If a mask cannot be used, or if masks to merge differ in size.
        """
        truth = self.read_mask(sample)
        return truth if self.mask_kind == "soft" else self.ignore_gaps(truth, self.read_valid(sample))

    def read_mask(self, sample: Sample, contents: Mapping[str, bytes] | None = None) -> ClassMask:
        """Read a labelled sample's mask as `read_truth` does, whether the pixels of its image have data or not.

        Masks of single objects are merged. `contents` maps paths to the bytes of files that were already read.
        """
        contents, label_map = contents or {}, self.labels.label_map
        if sample.more_masks:
            masks = [label_map.read(path, contents.get(path), sample.page, self.source) for path in sample.mask_files]
            return merge_object_masks(masks, sample.mask_files)
        if sample.mask is not None:
            read = label_map.read_soft if self.mask_kind == "soft" else label_map.read
            return read(sample.mask, contents.get(sample.mask), sample.page, self.source)
        if sample.mask_codes is None or self.labels.rle_shape is None:
            raise ValueError(f"sample {sample.id!r} has no mask")
        mask = decode_rle(sample.mask_codes, *self.labels.rle_shape, location=f"{sample.codes_file}, id {sample.id}")
        return mask * np.uint8(255) if self.mask_kind == "soft" else mask

    def read_foreground(self, sample: Sample) -> ClassMask:
        """Read a labelled sample's two-class mask as (H, W) of {0, 1, VOID}; soft masks are foreground above 127."""
        return self.ignore_gaps(self.as_classes(self.read_mask(sample)), self.read_valid(sample))

    def read_valid(self, sample: Sample) -> Valid | None:
        """Read which pixels of a sample's image have data, (H, W) of bool; None if all have (`nodata: ignore`)."""
        if not sample.image_has_gaps:
            return None
        return read_file(sample.image, None, sample.page, self.source).valid

    @staticmethod
    def ignore_gaps(classes: ClassMask, valid: Valid | None) -> ClassMask:
        """Return class indices with `VOID` where the image has no data; unchanged if its size differs."""
        if valid is None or valid.shape != classes.shape:
            return classes
        return np.where(valid, classes, np.uint8(VOID))

    def as_classes(self, truth: ClassMask) -> ClassMask:
        """Convert a mask from `read_truth` to class indices."""
        return (truth > SOFT_THRESHOLD).astype(np.uint8) if self.mask_kind == "soft" else truth

    @property
    def binarization(self) -> str:
        """How masks are binarized for scoring, as text."""
        return f"soft mask > {SOFT_THRESHOLD}" if self.mask_kind == "soft" else "two-valued mask"

    def read_fov(self, sample: Sample, data: bytes | None = None) -> ClassMask | None:
        """Read a sample's field of view as (H, W) of {0, 1}, or return None if it has none."""
        return None if sample.fov is None else self._read_fov(sample.fov, sample.page, data)

    def _read_fov(self, path: str, page: int | None, data: bytes | None) -> ClassMask:
        fov = BLACK_AND_WHITE.read(path, data, page, self.source, missing_class=0)
        fov[fov == VOID] = 0
        return fov

    def read_observer(self, sample: Sample) -> ClassMask:
        """Read the second observer's mask as (H, W) class indices."""
        if sample.observer is None or self.labels.observer_label_map is None:
            raise ValueError(f"sample {sample.id!r} has no second observer")
        return self.labels.observer_label_map.read(sample.observer, options=self.source)


class PartialDataset(NamedTuple):
    """A data set of which some samples may not be listed or assigned.

    Parameters
    ----------
    dataset : RawDataset
        Complete samples, in their splits.
    problems : tuple of Problem
        Why other samples could not be listed or assigned to splits.
    unplaced : tuple of Sample
        Samples that are in no split because of those problems.
    """

    dataset: RawDataset
    problems: tuple[Problem, ...]
    unplaced: tuple[Sample, ...]


def open_dataset(name: str, source: Source) -> RawDataset:
    """List a raw folder and assign its samples to splits; `name` of the data set is for messages and files.

    Raises
    ------
    RawDataError
        Listing every missing or unpaired file.
    """
    listed = open_partially(name, source)
    if listed.problems:
        raise RawDataError(listed.problems)
    return listed.dataset


def open_partially(name: str, source: Source) -> PartialDataset:
    """List a raw folder as `open_dataset` does, but return problems beside the samples that could be listed."""
    folder, exclude = Path(source.root), source.exclude
    problems: list[Problem] = []
    samples: Sequence[Sample] = ()
    try:
        samples = source.layout.list_samples(folder, name)
    except RawDataError as error:
        samples = error.samples if isinstance(error, ListingError) else ()
        hint = other_layout_problem(source.layout.layout, folder, listed=bool(samples))
        problems += error.problems if hint is None else (hint, *error.problems)
    except OSError as error:
        problems.append(_unlistable(error, folder))
    if source.nodata == "ignore":
        samples = [replace(sample, image_has_gaps=True) for sample in samples]
    problems += _encoding_problems(samples)
    incomplete_ids = {problem.sample for problem in problems if problem.sample is not None}
    problems = [problem for problem in problems if problem.sample not in exclude]
    if samples or incomplete_ids:  # without any identifier, every excluded one would be unknown
        problems += unknown_id_problems(exclude, incomplete_ids | {sample.id for sample in samples}, name)
    complete = [sample for sample in samples if sample.id not in incomplete_ids]
    unplaced = [sample for sample in samples if sample.id in incomplete_ids and sample.id not in exclude]
    tables = (*rule_files(source.test, source.validation), *source.layout.tables)
    dataset = RawDataset(
        name=name,
        source=source,
        labels=source.layout.mask_labels(),
        splits={split: [] for split in SPLITS},
        synthetic=os.path.exists(folder / SYNTHETIC_MARKER),  # noqa: PTH110 - the folder may be unreadable
        tables=tuple(str(folder / name) for name in tables),
    )
    try:
        strata = partial(measure_strata, dataset, exclude=exclude, cache=source.cache)
        assigned = assign_splits(complete, name, source.test, source.validation, root=folder, strata=strata)
        splits, excluded = apply_exclusions(assigned, exclude)
        problems += _empty_training_problems(splits, excluded, name)
        dataset = replace(dataset, splits=splits, excluded=excluded)
    except RawDataError as error:
        problems += [] if problems else error.problems  # may only follow from the problems of the listing
        unplaced += [sample for sample in complete if sample.id not in exclude]
        by_id = {sample.id: sample for sample in complete}
        excluded = tuple(Excluded(key, reason, by_id.get(key)) for key, reason in sorted(exclude.items()))
        dataset = replace(dataset, excluded=excluded)
    return PartialDataset(dataset, tuple(problems), tuple(unplaced))


def measure_strata(
    dataset: RawDataset, labelled: Sequence[Sample], *, exclude: Collection[str], cache: str | None
) -> Mapping[str, int]:
    """Return the stratum of labelled samples, from the foreground fraction of their masks; 0 for excluded samples.

    Parameters
    ----------
    exclude : collection of str
        Identifiers of samples whose masks are not read, because they may be damaged.
    cache : str, optional
        See `pipeline.raw.splits.foreground.foreground_fractions`.

    Raises
    ------
    RawDataError
        Listing every mask that cannot be read.
    """
    fractions = foreground_fractions(
        [sample for sample in labelled if sample.id not in exclude],
        dataset.read_mask,
        meaning=repr((dataset.labels.label_map, dataset.mask_kind, dataset.source.nodata)),
        soft=dataset.mask_kind == "soft",
        cache=None if cache is None else Path(cache),
        dataset=dataset.name,
    )
    return {sample.id: stratum_of(fractions.get(sample.id, 0.0)) for sample in labelled}


def _unlistable(error: OSError, root: Path) -> Problem:
    """Return the problem that a folder of the raw files cannot be listed."""
    remedy = "check the folder and the disk or network drive that it is on"
    if isinstance(error, PermissionError):
        remedy = f"ask its owner for permission, or if it is yours, run `chmod -R u+rX {shlex.quote(str(root))}`"
    return Problem(str(error.filename or root), error.strerror or str(error), "a folder that can be listed", remedy)


def _encoding_problems(samples: Sequence[Sample]) -> list[Problem]:
    """List file names that are not valid UTF-8, as in old archives; tables, shards and pages cannot hold them."""
    return [
        Problem(
            path.encode("utf-8", "backslashreplace").decode(),
            "a file name that is not valid UTF-8",
            "file names in UTF-8",
            "rename the file; `convmv` renames whole folders from another encoding",
            kind="name",
            sample=sample.id,
        )
        for sample in samples
        for path in (*sample.files, *sample.observer_files)
        if not path.isascii() and path != path.encode("utf-8", "replace").decode()
    ]


def _empty_training_problems(
    splits: Mapping[str, list[Sample]], excluded: Sequence[Excluded], name: str
) -> list[Problem]:
    """Return a problem if `exclude` lists every training sample."""
    if splits[TRAIN] or not any(item.split == TRAIN for item in excluded):
        return []
    return [
        Problem(
            f"data set {name!r}, `exclude`",
            "all training samples",
            "at least one labelled sample to train on",
            "exclude fewer samples",
            kind="exclude",
        )
    ]


def size_problem(
    sample: Sample, path: Path | str, plane: NDArray[np.uint8] | None, size: tuple[int, int]
) -> Problem | None:
    """Return a problem if a mask or field of view differs from its image in size (height, width), else None."""
    if plane is None or plane.shape == size:
        return None
    return Problem(
        str(path),
        f"{plane.shape[1]}x{plane.shape[0]} pixels, while {sample.image} has {size[1]}x{size[0]}",
        "mask and image of the same size (width x height)",
        "export the mask again at the size of its image, or leave the sample out (`exclude`)",
        kind="size",
    )


def require_samples(dataset: RawDataset, split: str) -> list[Sample]:
    """Return the samples of a split, or of `OUT_OF_FOLD`.

    Raises
    ------
    RawDataError
        If there are none.
    """
    samples = dataset.pool if split == OUT_OF_FOLD else dataset.splits[split]
    if not samples:
        raise RawDataError(
            f"data set {dataset.name!r}",
            f"no samples in split {split!r}",
            "at least one",
            "check the keys `test` and `validation` of the data set",
        )
    return samples
