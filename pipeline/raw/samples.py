"""What a layout finds in a raw folder: samples, by identifier, before anything is decoded."""

import difflib
import os
import shlex
import unicodedata
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from pipeline.core.errors import Problem, RawDataError
from pipeline.raw.archives import is_archive

MARKER = "DRAWN-SAMPLE.txt"
"""A file of this name in a raw root says that the data set was drawn, not measured."""

IMAGE_ENDINGS = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp")
"""Endings of pictures and masks, in small letters; names may have them in any case."""

_SHOWN = 5  # names that a message offers in place of a missing folder

_Key = TypeVar("_Key", bound=Hashable)


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
    more_masks : tuple of str
        Further masks, one for each object: what is foreground in any of them is foreground.
    page : int, optional
        Which page of picture, mask and field of view is meant, from 1, where the files are stacks.
    mask_codes : str, optional
        The mask as run-length codes (column-major, 1-based starts; an empty text is an empty mask).
    codes_file : str, optional
        The table that `mask_codes` was read from.
    fov : str, optional
        The field of view: the part of the picture that counts.
    observer : str, optional
        A second person's mask of the same picture.
    official_split : str, optional
        ``"training"``, ``"validation"`` or ``"test"`` where the data set says so.
    metadata : mapping of str to float
        Numbers that the data set brings along.
    """

    id: str
    image: str
    mask: str | None = None
    more_masks: tuple[str, ...] = ()
    page: int | None = None
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
    def stack(self) -> str:
        """What the whole file is called: the identifier without its page."""
        return self.id if self.page is None else self.id.removesuffix(page_suffix(self.page))

    @property
    def truth_files(self) -> tuple[str, ...]:
        """The files that scoring reads: mask and field of view."""
        return tuple(path for path in (self.mask, *self.more_masks, self.codes_file, self.fov) if path is not None)

    @property
    def observer_files(self) -> tuple[str, ...]:
        """The second observer's mask, if there is one."""
        return () if self.observer is None else (self.observer,)

    @property
    def files(self) -> tuple[str, ...]:
        """The sample's own files: picture, masks, field of view. Tables that many samples share are not among them."""
        return tuple(path for path in (self.image, self.mask, *self.more_masks, self.fov) if path is not None)

    @property
    def shared_data(self) -> str:
        """What the sample has from what it shares with others: run-length codes, metadata, its page; as one text."""
        if self.mask_codes is None and not self.metadata and self.page is None:
            return ""
        page = () if self.page is None else (self.page,)
        return repr((self.id, self.mask_codes, sorted(self.metadata.items()), *page))


def page_suffix(page: int) -> str:
    """Return what a page of a stack, from 1, adds to the identifier of the stack."""
    return f"-p{page:03d}"


class ListingError(RawDataError):
    """What does not pair in a raw folder, beside what could be listed all the same.

    Parameters
    ----------
    problems : iterable of Problem
    samples : iterable of Sample
        As far as they could be made out; those that `problems` are about may lack files.
    """

    def __init__(self, problems: Iterable[Problem], samples: Iterable["Sample"]) -> None:
        super().__init__(problems)
        self.samples = tuple(samples)


def require_root(root: Path, dataset: str, layout: str) -> None:
    """Refuse a raw root that is missing, is no folder, or is empty, and say how to make one.

    Raises
    ------
    RawDataError
        With the command that draws the embedded sample and the place for the real files.
    """
    remedy = f"correct `root` of data set {dataset!r}, or put the files there"
    if layout != "folder":
        remedy = (
            f"put the files of layout {layout!r} there (the README lists the folders), or draw the embedded sample "
            f"with `python -m pipeline sample` and set `root` of data set {dataset!r} to where it was drawn"
        )
    if is_archive(root):
        found = "an archive"
        folder = root.with_name(root.name.partition(".")[0] or "unpacked")
        remedy = (
            f"unpack it with `python -m pipeline unpack {shlex.quote(str(root))} {shlex.quote(str(folder))}`, "
            f"which says what to write as `root` of data set {dataset!r}"
        )
    elif root.is_file():
        found = "a file"
    elif not root.exists():
        found = f"nothing{_beside(root)}"
    elif not any(root.iterdir()):
        found = "an empty folder"
    else:
        return
    raise RawDataError(str(root), found, f"a folder with the raw files of layout {layout!r}", remedy)


def _beside(root: Path) -> str:
    """Say what is there in place of a missing folder, those of similar names first."""
    if not root.parent.is_dir():
        return f", and no folder {root.parent} (where `root` is relative, it starts in {Path.cwd()})"
    names = sorted(entry.name for entry in root.parent.iterdir() if not entry.name.startswith("."))
    close = difflib.get_close_matches(root.name, names, n=_SHOWN)
    shown = [*close, *(name for name in names if name not in close)]
    more = ", ..." if len(shown) > _SHOWN else ""
    return f"; in {root.parent} there is {', '.join(shown[:_SHOWN])}{more}" if shown else f"; {root.parent} is empty"


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
            kind="repeated",
            sample=name,
        )
        for name, group in sorted(by_id.items())
        if len(group) > 1
    ]


def image_files(folder: Path | str, endings: tuple[str, ...] = IMAGE_ENDINGS) -> list[str]:
    """List the names of a folder that end as images do, sorted; an absent folder is empty, dot-files are left out."""
    if not Path(folder).is_dir():
        return []
    return sorted(name for name in os.listdir(folder) if name.lower().endswith(endings) and not name.startswith("."))


def as_identifier(name: str) -> str:
    """Write a name in one way (Unicode form NFC): macOS takes an accent apart from its letter, others do not."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def by_stem(folder: Path, problems: list[Problem], endings: tuple[str, ...] = IMAGE_ENDINGS) -> dict[str, str]:
    """Map the names of image files without their endings to their paths; names that repeat join `problems`."""
    keyed = [(as_identifier(name[: name.rindex(".")]), name) for name in image_files(folder, endings)]
    problems += repeated_keys(folder, keyed)
    return {key: os.path.join(folder, name) for key, name in keyed}


def unpaired(
    images: Mapping[_Key, str],
    files: Mapping[_Key, str],
    where: str,
    image_where: str,
    what: str = "mask",
    name: Callable[[_Key], str] = str,
) -> list[Problem]:
    """List every picture without its file, and every file without its picture.

    Parameters
    ----------
    images, files : mapping of key to path
        They belong together where their keys are equal.
    where, image_where : str
        Folders of the files and of the pictures, for messages.
    what : str
        What the files are.
    name : callable
        Gives the identifier of the sample that a key stands for.
    """
    missing = [
        Problem(
            images[key],
            f"no {what} of that name in {where}",
            f"one {what} for every picture",
            f"add the {what}, remove the picture, or leave the sample out (`exclude`)",
            kind="unpaired",
            sample=name(key),
        )
        for key in images
        if key not in files
    ]
    extra = [
        Problem(
            files[key],
            f"no picture of that name in {image_where}",
            f"one picture for every {what}",
            "add the missing picture, remove this file, or leave the sample out (`exclude`)",
            kind="unpaired",
            sample=name(key),
        )
        for key in files
        if key not in images
    ]
    return missing + extra


def repeated_keys(folder: Path, keyed: Iterable[tuple[str, str]]) -> list[Problem]:
    """List every identifier that more than one file of `folder` carries."""
    names: dict[str, list[str]] = {}
    for key, name in keyed:
        names.setdefault(key, []).append(name)
    return [
        Problem(
            str(folder),
            f"{', '.join(sorted(group))} all have the identifier {key!r}",
            "one file for each identifier",
            "remove or rename all but one",
            kind="repeated",
            sample=key,
        )
        for key, group in sorted(names.items())
        if len(group) > 1
    ]
