"""A raw data set as the stages see it: a layout's samples, their meaning and their splits."""

import hashlib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Problem, RawDataError
from pipeline.raw.decode import read_grey
from pipeline.raw.masks import ClassMask, decode_runs, read_mask
from pipeline.raw.samples import MARKER, Sample
from pipeline.raw.splits import assign_shards, assign_splits

LAYOUTS = {"drive": "pipeline.raw.drive", "tgs": "pipeline.raw.tgs"}
"""Layout name to the module that lists it: `list_samples`, `CLASSES`, `MEANING`, and what else it knows."""

SOFT_CUT = 127
"""A soft mask counts as foreground above this value."""

FOV_MEANING: Mapping[int, int] = {0: 0, 255: 1}


@dataclass(frozen=True)
class RawDataset:
    """A listed data set. Nothing is decoded until a mask is asked for.

    Parameters
    ----------
    name, layout : str
    root : Path
    splits : dict of str to list of Sample
        train, validation, test, unlabelled; each sorted by identifier.
    shards : int
        How many shards a split is spread over at most.
    classes : tuple of str
        Class names, background first.
    meaning, observer_meaning : mapping of int to int
        Grey value of a mask file to class index, for the masks and for the second observer's.
    tile : (int, int), optional
        Height and width of run-length coded masks.
    drawn : bool
        Whether this is the embedded sample, drawn and not measured.
    mask_kind : {'index', 'soft'}
        Whether mask pixels are class indices, or probabilities (uint8, 255 = 1).
    """

    name: str
    layout: str
    root: Path
    splits: dict[str, list[Sample]]
    shards: int
    classes: tuple[str, ...]
    meaning: Mapping[int, int]
    observer_meaning: Mapping[int, int] | None
    tile: tuple[int, int] | None
    drawn: bool
    mask_kind: str = "index"

    @property
    def origin(self) -> str:
        """What every result made from this data set says about it: ``"drawn sample"`` or ``"raw files"``."""
        return "drawn sample" if self.drawn else "raw files"

    def shard_members(self, split: str) -> dict[int, list[Sample]]:
        """Return the non-empty shards of a split, by number."""
        return self._members[split]

    @cached_property
    def _members(self) -> dict[str, dict[int, list[Sample]]]:
        """Shards of all splits: every job of a large data set asks for them, so they are assigned once."""
        return {split: assign_shards(samples, self.shards) for split, samples in self.splits.items()}

    def shared_data_digest(self, split: str, shard: int) -> str:
        """Return a short text that changes when a table row of one of the shard's samples does."""
        texts = [sample.shared_data for sample in self.shard_members(split).get(shard, [])]
        return hashlib.sha256("\n".join(texts).encode("utf-8", "surrogateescape")).hexdigest()[:16]

    def digest(self, split: str) -> str:
        """Return a short text that changes when the members of a split do."""
        names = "\n".join(text for sample in self.splits[split] for text in (sample.id, *sample.files))
        return hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest()[:16]

    def read_truth(self, sample: Sample, data: bytes | None = None) -> ClassMask:
        """Read a labelled sample's mask: (H, W) class indices, or 0..255 where masks are soft.

        `data` are the bytes of the mask file where they were read already.
        """
        if sample.mask is not None:
            if self.mask_kind == "soft":
                return read_grey(sample.mask, data)
            return read_mask(sample.mask, self.meaning, data)
        if sample.mask_codes is None or self.tile is None:
            raise ValueError(f"sample {sample.id!r} has no mask")
        mask = decode_runs(sample.mask_codes, *self.tile, where=f"{sample.codes_file}, id {sample.id}")
        return mask * np.uint8(255) if self.mask_kind == "soft" else mask

    def read_foreground(self, sample: Sample) -> NDArray[np.uint8]:
        """Read a labelled sample's mask as (H, W) of {0, 1}; soft masks count as foreground above 127."""
        truth = self.read_truth(sample)
        return (truth > SOFT_CUT).astype(np.uint8) if self.mask_kind == "soft" else truth

    @property
    def binarization(self) -> str:
        """How a mask became two-valued for scoring, in words."""
        return f"soft mask > {SOFT_CUT}" if self.mask_kind == "soft" else "two-valued mask"

    def read_fov(self, sample: Sample, data: bytes | None = None) -> ClassMask | None:
        """Read a sample's field of view as (H, W) of {0, 1}, or None where there is none."""
        return None if sample.fov is None else read_mask(sample.fov, FOV_MEANING, data)

    def read_observer(self, sample: Sample) -> ClassMask:
        """Read the second observer's mask as (H, W) class indices."""
        if sample.observer is None or self.observer_meaning is None:
            raise ValueError(f"sample {sample.id!r} has no second observer")
        return read_mask(sample.observer, self.observer_meaning)


def open_dataset(
    name: str,
    *,
    layout: str,
    root: str,
    options: Mapping[str, Any] | None = None,
    shards: int = 1,
    mask_kind: str = "index",
    test: Mapping[str, Any] | None = None,
    validation: Mapping[str, Any] | None = None,
) -> RawDataset:
    """List a raw folder and assign its samples to splits.

    Parameters
    ----------
    name : str
        Name of the data set, for messages and file names.
    layout : str
        A key of `LAYOUTS`.
    root : str
        The raw folder.
    options : mapping, optional
        Keyword arguments of the layout's `list_samples`.
    shards, mask_kind
        See `RawDataset`.
    test, validation : mapping, optional
        See `pipeline.raw.splits.assign_splits`.

    Raises
    ------
    RawDataError
        Listing everything that is missing or does not pair.
    """
    if layout not in LAYOUTS:
        raise RawDataError(
            Problem(f"data set {name!r}", f"the layout {layout!r}", f"one of {', '.join(LAYOUTS)}", "correct `layout`")
        )
    module = importlib.import_module(LAYOUTS[layout])
    folder = Path(root)
    samples = module.list_samples(folder, name, **(options or {}))
    return RawDataset(
        name=name,
        layout=layout,
        root=folder,
        splits=assign_splits(samples, name, test, validation),
        shards=shards,
        classes=module.CLASSES,
        meaning=module.MEANING,
        observer_meaning=getattr(module, "OBSERVER_MEANING", None),
        tile=getattr(module, "TILE", None),
        drawn=(folder / MARKER).exists(),
        mask_kind=mask_kind,
    )


def same_size(
    sample: Sample, what: Path | str, plane: NDArray[np.uint8] | None, size: tuple[int, int]
) -> Problem | None:
    """Compare the size of a mask or field of view with its picture's; return what is wrong, or None."""
    if plane is None or plane.shape == size:
        return None
    return Problem(
        str(what),
        f"{plane.shape[1]}x{plane.shape[0]} pixels, while {sample.image} has {size[1]}x{size[0]}",
        "mask and picture of the same size (width x height)",
        "export the mask again at the size of its picture, or leave the sample out",
    )


def require_samples(dataset: RawDataset, split: str) -> list[Sample]:
    """Return the samples of a split, which must not be empty."""
    samples = dataset.splits[split]
    if not samples:
        raise RawDataError(
            Problem(
                f"data set {dataset.name!r}",
                f"no sample in split {split!r}",
                "at least one",
                "check `test` and `validation`",
            )
        )
    return samples
