"""What a layout finds in a raw folder: samples, by identifier, before anything is decoded."""

import difflib
import os
import shlex
import unicodedata
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from pipeline.core.errors import Problem, RawDataError

MARKER = "DRAWN-SAMPLE.txt"
"""A file of this name in a raw root says that the data set is synthetic."""

IMAGE_ENDINGS = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp")
"""Endings of images and masks, in small letters; names may have them in any case."""

_SHOWN = 5  # names that a message offers in place of a missing folder
_ARCHIVES = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")
_TAR_AT = 257  # where the mark of a tar stands
RENAME = "rename or remove all but one"

_Key = TypeVar("_Key", bound=Hashable)


@dataclass(frozen=True)
class Sample:
    """One image with what belongs to it. Files are plain strings: a hundred thousand of them are listed in a blink.

    Parameters
    ----------
    id : str
        The identifier that pairs the files; names every file made from this sample.
    image : str
        The image.
    mask : str, optional
        The mask. None where the sample is unlabelled or its mask is run-length coded.
    more_masks : tuple of str
        Further masks, one for each object: what is foreground in any of them is foreground.
    page : int, optional
        Which page of image, mask and field of view is meant, from 1, where the files are stacks.
    mask_codes : str, optional
        The mask as run-length codes (column-major, 1-based starts; an empty text is an empty mask).
    codes_file : str, optional
        The table that `mask_codes` was read from.
    fov : str, optional
        The field of view: the part of the image that counts.
    observer : str, optional
        A second person's mask of the same image.
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
    def mask_files(self) -> tuple[str, ...]:
        """The mask, or the masks of single objects."""
        return () if self.mask is None else (self.mask, *self.more_masks)

    @property
    def truth_files(self) -> tuple[str, ...]:
        """The files that scoring reads: mask and field of view."""
        return tuple(path for path in (*self.mask_files, self.codes_file, self.fov) if path is not None)

    @property
    def observer_files(self) -> tuple[str, ...]:
        """The second observer's mask, if there is one."""
        return () if self.observer is None else (self.observer,)

    @property
    def files(self) -> tuple[str, ...]:
        """The sample's own files: image, masks, field of view. Tables that many samples share are not among them."""
        return tuple(path for path in (self.image, *self.mask_files, self.fov) if path is not None)

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
    samples : iterable of Sample
        As far as they could be made out; those that `problems` are about may lack files.
    """

    def __init__(self, problems: Iterable[Problem], samples: Iterable["Sample"]) -> None:
        super().__init__(problems)
        self.samples = tuple(samples)


def is_archive(path: Path) -> bool:
    """Tell by its first bytes whether a file is a zip, a tar, or compressed by gzip, bzip2 or xz."""
    if not path.is_file():
        return False
    with path.open("rb") as handle:
        start = handle.read(_TAR_AT + 5)
    return start.startswith(_ARCHIVES) or start[_TAR_AT:] == b"ustar"


def require_root(root: Path, dataset: str, layout: str, has_synthetic: bool) -> None:
    """Refuse a raw root that is missing, is no folder, or is empty, and say how to make one.

    `has_synthetic` tells whether there is a synthetic data set of the layout.

    Raises
    ------
    RawDataError
        With the command that draws the synthetic data and the place for the real files.
    """
    remedy = f"correct `root` of data set {dataset!r}, or put the files there"
    if has_synthetic:
        remedy = (
            f"put the files of layout {layout!r} there (the README lists the folders), or draw the synthetic data "
            f"with `python -m pipeline synthetic` and set `root` of data set {dataset!r} to where it was drawn"
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


def sorted_samples(samples: Sequence[Sample], problems: Iterable[Problem], remedy: str = RENAME) -> list[Sample]:
    """Sort samples by identifier.

    Parameters
    ----------
    problems : iterable of Problem
        What kept others from being listed, or is wrong with these.
    remedy : str
        What to do about identifiers that repeat.

    Raises
    ------
    ListingError
        If there are problems, or more than one image carries an identifier.
    """
    images: dict[str, list[str]] = {}
    for sample in samples:
        images.setdefault(sample.id, []).append(sample.image)
    problems = [*problems, *repeated(images.items(), "images", remedy)]
    if problems:
        raise ListingError(problems, samples)
    return sorted(samples, key=attrgetter("id"))


def repeated(files: Iterable[tuple[str, Sequence[str]]], what: str, remedy: str = RENAME) -> list[Problem]:
    """List every identifier that several files carry; `files` are identifiers with their paths."""
    return [
        Problem(
            ", ".join(paths),
            f"{len(paths)} {what} with the identifier {name!r}",
            "one for each identifier",
            remedy,
            kind="repeated",
            sample=name,
        )
        for name, paths in sorted(files)
        if len(paths) > 1
    ]


def image_files(folder: Path | str, endings: tuple[str, ...] = IMAGE_ENDINGS) -> list[str]:
    """List the names of a folder that end as images do, sorted; an absent folder is empty, dot-files are left out."""
    if not Path(folder).is_dir():
        return []
    return sorted(name for name in os.listdir(folder) if name.lower().endswith(endings) and not name.startswith("."))


def as_identifier(name: str) -> str:
    """Write a name in one way (Unicode form NFC): macOS takes an accent apart from its letter, others do not."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def stem(name: str) -> str:
    """Return the name of an image file without its ending, as identifiers are written."""
    return as_identifier(name[: name.rindex(".")])


def by_name(
    folder: Path,
    problems: list[Problem],
    key: Callable[[str], str | None] = stem,
    expected: tuple[str, str] = ("", ""),
    endings: tuple[str, ...] = IMAGE_ENDINGS,
) -> dict[str, str]:
    """Map the image files of a folder by their names; an absent folder has none.

    Parameters
    ----------
    problems : list of Problem
        Joined by names that give no key, and by those that give the same.
    key : callable
        Gives the key of a name, or None.
    expected : (str, str)
        What a name lacks that gives none, such as "a name without a number", and what it should be like.

    Returns
    -------
    dict of str to str
        Key to path.
    """
    paths: dict[str, list[str]] = {}
    for name in image_files(folder, endings):
        path, found = os.path.join(folder, name), key(name)
        if found is None:
            problems.append(Problem(path, *expected, "rename it, or move it away"))
        else:
            paths.setdefault(found, []).append(path)
    problems += repeated(paths.items(), "files")
    return {found: first for found, (first, *_) in paths.items()}


def no_images(
    images: Mapping[str, str], folder: Path, expected: str, remedy: str, found: str = "no images"
) -> list[Problem]:
    """Complain where there is no image at all."""
    return [] if images else [Problem(str(folder), found, expected, remedy)]


def unpaired(
    images: Mapping[_Key, str],
    files: Mapping[_Key, str],
    where: Path | str,
    image_where: Path | str,
    what: str = "mask",
    *,
    same: str = "of that name",
    instead: str = "leave the sample out (`exclude`)",
    identifier: Callable[[_Key], str] = str,
) -> list[Problem]:
    """List every image without its file, and every file without its image.

    Parameters
    ----------
    images, files : mapping of key to path
        They belong together where their keys are equal.
    where, image_where : Path or str
        Folders of the files and of the images, for messages.
    what : str
        What the files are.
    same : str
        What partners have in common, such as "of that name".
    instead : str
        What else can be done about an image without its file.
    identifier : callable
        Gives the identifier of the sample that a key stands for.
    """
    missing = [
        Problem(
            images[key],
            f"no {what} {same} in {where}",
            f"one {what} for every image",
            f"add the {what}, remove the image, or {instead}",
            kind="unpaired",
            sample=identifier(key),
        )
        for key in images
        if key not in files
    ]
    extra = [
        Problem(
            files[key],
            f"no image {same} in {image_where}",
            f"one image for every {what}",
            f"add the missing image, remove this {what}, or leave the sample out (`exclude`)",
            kind="unpaired",
            sample=identifier(key),
        )
        for key in files
        if key not in images
    ]
    return missing + extra
