"""What is an archive, by its first bytes, and which layout a folder looks like."""

from pathlib import Path

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_STARTS = (*_ZIP, b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")
_TAR_AT = 257

_MARKS = {
    "drive": ("training/images", "training/1st_manual"),
    "tgs": ("train/images", "train/masks"),
    "shapes": ("train_imgs", "train_mask"),
    "duts": ("DUTS-TR/DUTS-TR-Image", "DUTS-TR/DUTS-TR-Mask"),
}
"""Folders that stand in a raw root of each layout."""


def is_archive(path: Path) -> bool:
    """Tell whether a file is a zip, a tar, or a file compressed by gzip, bzip2 or xz."""
    if not path.is_file():
        return False
    with path.open("rb") as handle:
        start = handle.read(_TAR_AT + 5)
    return start.startswith(_STARTS) or start[_TAR_AT:] == b"ustar"


def is_zip(path: Path) -> bool:
    """Tell whether a file is a zip archive."""
    with path.open("rb") as handle:
        return handle.read(4).startswith(_ZIP)


def recognise(root: Path) -> str | None:
    """Name the layout whose folders stand in `root`, or None."""
    return next((name for name, marks in _MARKS.items() if all((root / mark).is_dir() for mark in marks)), None)
