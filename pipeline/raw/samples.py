"""What a layout finds in a raw folder: samples, by identifier, before anything is decoded."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from pipeline.errors import Problem, RawDataError

MARKER = "DRAWN-SAMPLE.txt"
"""A file of this name in a raw root says that the data set was drawn, not measured."""


@dataclass(frozen=True)
class Sample:
    """One picture with what belongs to it. Files are plain strings: a hundred thousand of them are listed in a blink.

    Parameters
    ----------
    id : str
        The identifier that pairs the files; names every file made from this sample.
    image : str
        The picture.
    mask : str, optional
        The mask. None where the sample is unlabelled or its mask is run-length coded.
    mask_codes : str, optional
        The mask as run-length codes (column-major, 1-based starts; an empty text is an empty mask).
    codes_file : str, optional
        The table that `mask_codes` was read from.
    fov : str, optional
        The field of view: the part of the picture that counts.
    observer : str, optional
        A second person's mask of the same picture.
    official_split : str, optional
        ``"training"`` or ``"test"`` where the data set says so.
    metadata : mapping of str to float
        Numbers that the data set brings along.
    """

    id: str
    image: str
    mask: str | None = None
    mask_codes: str | None = None
    codes_file: str | None = None
    fov: str | None = None
    observer: str | None = None
    official_split: str | None = None
    metadata: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def labelled(self) -> bool:
        """Whether there is a mask, as a file or as codes."""
        return self.mask is not None or self.mask_codes is not None

    @property
    def truth_files(self) -> tuple[str, ...]:
        """The files that scoring reads: mask and field of view."""
        return tuple(path for path in (self.mask, self.codes_file, self.fov) if path is not None)

    @property
    def observer_files(self) -> tuple[str, ...]:
        """The second observer's mask, if there is one."""
        return () if self.observer is None else (self.observer,)

    @property
    def files(self) -> tuple[str, ...]:
        """The sample's own files: picture, mask, field of view. Tables that many samples share are not among them."""
        return tuple(path for path in (self.image, self.mask, self.fov) if path is not None)

    @property
    def shared_data(self) -> str:
        """What the sample has from tables that it shares with others, run-length codes and metadata, as one text."""
        if self.mask_codes is None and not self.metadata:
            return ""
        return repr((self.id, self.mask_codes, sorted(self.metadata.items())))


def require_root(root: Path, dataset: str, layout: str) -> None:
    """Refuse a raw root that is missing, is no folder, or is empty, and say how to make one.

    Raises
    ------
    RawDataError
        With the command that draws the embedded sample and the place for the real files.
    """
    remedy = (
        f"put the {layout} files there (the README lists the folders), or draw the embedded sample with "
        f"`python -m pipeline sample` and set `root` of data set {dataset!r} to where it was drawn"
    )
    if root.is_file():
        found = "a file"
    elif not root.exists():
        found = "nothing"
    elif not any(root.iterdir()):
        found = "an empty folder"
    else:
        return
    raise RawDataError(Problem(str(root), found, f"a folder with the raw files of layout {layout!r}", remedy))


def repeated_ids(samples: Iterable[Sample]) -> list[Problem]:
    """List every identifier that more than one picture carries."""
    by_id: dict[str, list[Sample]] = {}
    for sample in samples:
        by_id.setdefault(sample.id, []).append(sample)
    return [
        Problem(
            ", ".join(str(sample.image) for sample in group),
            f"{len(group)} pictures with the identifier {name!r}",
            "one picture for each identifier",
            "rename or remove all but one",
        )
        for name, group in sorted(by_id.items())
        if len(group) > 1
    ]


def repeated_keys(folder: Path, keyed: Iterable[tuple[str, str]]) -> list[Problem]:
    """List every identifier that more than one file of `folder` carries."""
    keyed = list(keyed)
    counts = Counter(key for key, _ in keyed)
    return [
        Problem(
            str(folder),
            f"{', '.join(sorted(name for k, name in keyed if k == key))} all have the identifier {key!r}",
            "one file for each identifier",
            "remove or rename all but one",
        )
        for key, count in sorted(counts.items())
        if count > 1
    ]
