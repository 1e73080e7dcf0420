"""Samples that a layout lists from a raw folder, before any file is decoded."""

import difflib
import os
import shlex
import unicodedata
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from pipeline.core.errors import Problem, RawDataError, join_first
from pipeline.core.files import has_long_name, name_bytes
from pipeline.raw.decode.unsupported import conversion_remedy

SYNTHETIC_MARKER = "SYNTHETIC.txt"
"""A file of this name in a raw root marks the data set as synthetic."""

IMAGE_EXTENSIONS = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp")
"""File name extensions of images and masks, in lower case; file names may have them in any case."""

_MAX_LISTED = 5  # folder names that a message suggests for a missing folder
_ARCHIVE_SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")
_TAR_OFFSET = 257  # of the signature of a tar, in bytes
RENAME_REMEDY = "rename all but one, or move them to another folder"

_Key = TypeVar("_Key", bound=Hashable)


@dataclass(frozen=True)
class Sample:
    """One image and the files that belong to it. Paths are plain strings, which are fast for 100,000 samples.

    Parameters
    ----------
    id : str
        The identifier that pairs the files; part of the name of every file made from this sample.
    image : str
        The image file.
    mask : str, optional
        The mask file. None if the sample is unlabelled or its mask is run-length encoded.
    more_masks : tuple of str
        Further mask files, one for each object: a pixel is foreground if it is foreground in any mask.
    page : int, optional
        Page of image, mask and field of view, from 1, if the files are stacks.
    mask_codes : str, optional
        The mask as run-length encoding (column-major, 1-based starts; an empty string is an empty mask).
    codes_file : str, optional
        The table that `mask_codes` was read from.
    fov : str, optional
        The field of view file: the part of the image that counts.
    observer : str, optional
        A second person's mask of the same image.
    official_split : str, optional
        ``"training"``, ``"validation"`` or ``"test"`` if the data set defines it.
    metadata : mapping of str to float
        Numbers that the data set provides for the sample.
    image_has_gaps : bool
        Whether NoData pixels of the image are ignored (`nodata: ignore`), so that scoring reads the image as well.
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
    image_has_gaps: bool = False

    @property
    def labelled(self) -> bool:
        """Whether the sample has a mask, as a file or run-length encoded."""
        return self.mask is not None or self.mask_codes is not None

    @property
    def stack_id(self) -> str:
        """The identifier of the stack: that of the sample without its page suffix."""
        return self.id if self.page is None else self.id.removesuffix(page_suffix(self.page))

    @property
    def mask_files(self) -> tuple[str, ...]:
        """The mask file, or the mask files of single objects."""
        return () if self.mask is None else (self.mask, *self.more_masks)

    @property
    def truth_files(self) -> tuple[str, ...]:
        """The files that scoring reads: masks, table of run-length codes, field of view, image with NoData."""
        image = self.image if self.image_has_gaps else None
        return tuple(path for path in (*self.mask_files, self.codes_file, self.fov, image) if path is not None)

    @property
    def observer_files(self) -> tuple[str, ...]:
        """The second observer's mask file, if the sample has one."""
        return () if self.observer is None else (self.observer,)

    @property
    def files(self) -> tuple[str, ...]:
        """The sample's own files: image, masks, field of view; without tables that samples share."""
        return tuple(path for path in (self.image, *self.mask_files, self.fov) if path is not None)

    @property
    def shared_data(self) -> str:
        """The sample's data from shared files as one text: run-length codes, metadata, page."""
        if self.mask_codes is None and not self.metadata and self.page is None:
            return ""
        page = () if self.page is None else (self.page,)
        return repr((self.id, self.mask_codes, sorted(self.metadata.items()), *page))


def page_suffix(page: int) -> str:
    """Return the suffix that identifies a page (from 1) of a stack."""
    return f"-p{page:03d}"


class ListingError(RawDataError):
    """A raw folder cannot be listed completely; holds the problems and the samples that were listed.

    Parameters
    ----------
    samples : iterable of Sample
        Samples listed despite the problems; those named in `problems` may lack files.
    """

    def __init__(self, problems: Iterable[Problem], samples: Iterable["Sample"]) -> None:
        super().__init__(problems)
        self.samples = tuple(samples)


def is_archive(path: Path) -> bool:
    """Return whether the first bytes of a file are those of a zip, tar, gzip, bzip2 or xz file."""
    if not path.is_file():
        return False
    with path.open("rb") as handle:
        start = handle.read(_TAR_OFFSET + 5)
    return start.startswith(_ARCHIVE_SIGNATURES) or start[_TAR_OFFSET:] == b"ustar"


def require_root(root: Path, dataset: str, layout: str, has_synthetic: bool) -> None:
    """Check that a raw root is a folder with files.

    Parameters
    ----------
    has_synthetic : bool
        Whether the layout has a synthetic data set.

    Raises
    ------
    RawDataError
        If it is missing, empty, an archive or another file; with the command that makes or unpacks the data.
    """
    remedy = f"correct `root` of data set {dataset!r}, or put the files there"
    if has_synthetic:
        remedy = (
            f"put the files of layout {layout!r} there (see docs/own-data.md), or make the synthetic data "
            f"with `python -m pipeline synthetic` and set `root` of data set {dataset!r} to its folder; "
            "a configuration in place of config.yaml needs `snakemake --replace-workflow-config`"
        )
    if is_archive(root):
        description = "an archive"
        folder = root.with_name(root.name.partition(".")[0] or "unpacked")
        remedy = (
            f"unpack it with `python -m pipeline unpack {shlex.quote(str(root))} {shlex.quote(str(folder))}`, "
            f"which prints the new `root` of data set {dataset!r}"
        )
    elif root.is_file():
        description = "a file"
    elif not root.exists():
        description = f"no such file or folder{_describe_parent(root)}"
    elif not any(root.iterdir()):
        description = "an empty folder"
    else:
        return
    raise RawDataError(str(root), description, f"a folder with the raw files of layout {layout!r}", remedy)


def _describe_parent(root: Path) -> str:
    """List the entries beside a missing folder, those with similar names first."""
    parent = root.parent
    if not parent.is_dir():
        return f", and its parent folder {parent} does not exist either (a relative `root` starts in {Path.cwd()})"
    names = sorted(entry.name for entry in parent.iterdir() if not entry.name.startswith("."))
    close_matches = difflib.get_close_matches(root.name, names, n=_MAX_LISTED)
    names = [*close_matches, *(name for name in names if name not in close_matches)]
    more = ", ..." if len(names) > _MAX_LISTED else ""
    return f"; {parent} contains {', '.join(names[:_MAX_LISTED])}{more}" if names else f"; {parent} is empty"


def unfit_identifiers(images: Iterable[tuple[str, str]], remedy: str) -> Iterator[Problem]:
    """List identifiers that are too long for the names of results, or whose results would be hidden files.

    Parameters
    ----------
    images : iterable of (str, str)
        Identifiers with their paths.
    remedy : str
        Remedy for hidden files.
    """
    for name, path in images:
        if name.startswith("."):
            found = f"the identifier {name!r}: the files of its results would be hidden"
            expected = "identifiers that do not start with a dot"
            yield Problem(path, found, expected, remedy, kind="name", sample=name)
        if has_long_name(f"{name}.png"):
            found = f"an identifier of {len(name_bytes(name))} bytes, {name[:40]}..."
            expected = "at most 251 bytes: the files of its results have this name with an extension"
            yield Problem(path, found, expected, "shorten the names of its file and folders", kind="name", sample=name)


def sorted_samples(samples: Sequence[Sample], problems: Iterable[Problem], remedy: str = RENAME_REMEDY) -> list[Sample]:
    """Sort samples by identifier.

    Parameters
    ----------
    problems : iterable of Problem
        Problems found so far.
    remedy : str
        Remedy for identifiers that repeat.

    Raises
    ------
    ListingError
        If there are problems, or if several images have the same identifier, or one that does not fit results.
    """
    images: dict[str, list[str]] = {}
    for sample in samples:
        images.setdefault(sample.id, []).append(sample.image)
    hidden_remedy = "rename its files, or correct the pattern of the names in the configuration"
    unfit = unfit_identifiers(((sample.id, sample.image) for sample in samples), hidden_remedy)
    problems = [*problems, *duplicate_problems(images.items(), "images", remedy), *unfit]
    if problems:
        raise ListingError(problems, samples)
    return sorted(samples, key=attrgetter("id"))


def duplicate_problems(
    files: Iterable[tuple[str, Sequence[str]]], kind: str, remedy: str = RENAME_REMEDY
) -> list[Problem]:
    """List each identifier that several files have.

    Parameters
    ----------
    files : iterable of (str, sequence of str)
        Identifiers with their paths.
    kind : str
        Kind of the files, for messages.
    """
    return [
        Problem(
            join_first(paths),
            f"{len(paths)} {kind} with the identifier {name!r}",
            "one for each identifier",
            remedy,
            kind="duplicate-id",
            sample=name,
        )
        for name, paths in sorted(files)
        if len(paths) > 1
    ]


def image_files(folder: Path | str, extensions: tuple[str, ...] = IMAGE_EXTENSIONS) -> list[str]:
    """List the image files of a folder by extension, sorted, without hidden files; a missing folder has none."""
    if not Path(folder).is_dir():
        return []
    return sorted(name for name in os.listdir(folder) if name.lower().endswith(extensions) and not name.startswith("."))


def as_identifier(name: str) -> str:
    """Normalize a name to Unicode NFC, because macOS may store an accent apart from its letter."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def stem(name: str) -> str:
    """Return the name of an image file without its extension, normalized as identifiers are."""
    return as_identifier(name[: name.rindex(".")])


def index_by_name(
    folder: Path,
    problems: list[Problem],
    key: Callable[[str], str | None] = stem,
    expected: tuple[str, str] = ("", ""),
    extensions: tuple[str, ...] = IMAGE_EXTENSIONS,
) -> dict[str, str]:
    """Index the image files of a folder by a key from their names; a missing folder has none.

    Parameters
    ----------
    problems : list of Problem
        Problems are appended for names without a key and for names with the same key.
    key : callable
        Returns the key of a name, or None.
    expected : (str, str)
        What was found and expected for a name without a key, such as "a name without a number", "a name such as 7.png".

    Returns
    -------
    dict of str to str
        Key to path.
    """
    paths: dict[str, list[str]] = {}
    for name in image_files(folder, extensions):
        path, file_key = os.path.join(folder, name), key(name)
        if file_key is None:
            problems.append(Problem(path, *expected, "rename it, or move it away"))
        else:
            paths.setdefault(file_key, []).append(path)
    problems += duplicate_problems(paths.items(), "files")
    return {file_key: first for file_key, (first, *_) in paths.items()}


def missing_image_problems(
    images: Mapping[str, str], folder: Path, expected: str, remedy: str, description: str = "no images"
) -> list[Problem]:
    """Return a problem if there is no image at all; the remedy says how to convert images of other formats."""
    if images:
        return []
    names = os.listdir(folder) if folder.is_dir() else []
    return [Problem(str(folder), description, expected, conversion_remedy(names) or remedy)]


def pairing_problems(
    images: Mapping[_Key, str],
    files: Mapping[_Key, str],
    folder: Path | str,
    image_folder: Path | str,
    kind: str = "mask",
    *,
    matching: Callable[[_Key], str] = lambda key: "of that name",
    alternative: str = "leave the sample out (`exclude`)",
    identifier: Callable[[_Key], str] = str,
) -> list[Problem]:
    """List each image without its file, and each file without its image.

    Parameters
    ----------
    images, files : mapping of key to path
        An image and a file with equal keys are a pair.
    folder, image_folder : Path or str
        Folders of the files and of the images, for messages.
    kind : str
        Kind of the files, for messages.
    matching : callable
        Returns how the file of a key must be named, for messages.
    alternative : str
        Another remedy for an image without its file.
    identifier : callable
        Returns the identifier of the sample with a key.
    """
    missing = [
        Problem(
            images[key],
            f"no {kind} {matching(key)} in {folder}",
            f"one {kind} for every image",
            f"add the {kind}, move the image away, or {alternative}",
            kind="unpaired",
            sample=identifier(key),
        )
        for key in images
        if key not in files
    ]
    extra = [
        Problem(
            files[key],
            f"no image {matching(key)} in {image_folder}",
            f"one image for every {kind}",
            f"add the missing image, move this {kind} away, or leave the sample out (`exclude`)",
            kind="unpaired",
            sample=identifier(key),
        )
        for key in files
        if key not in images
    ]
    return missing + extra
