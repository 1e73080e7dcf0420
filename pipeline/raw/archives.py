"""Archives of raw data, and which layout the folder that comes out of one looks like."""

from pathlib import Path

from pipeline.core.options import names_of
from pipeline.raw.layouts.registry import LAYOUTS
from pipeline.raw.samples import is_archive

__all__ = ["is_archive", "is_zip", "recognise"]


def is_zip(path: Path) -> bool:
    """Tell whether a file is a zip archive."""
    with path.open("rb") as handle:
        return handle.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def recognise(root: Path) -> str | None:
    """Name the layout whose folders stand in `root`, or None."""
    for name, layout in zip(names_of(LAYOUTS, "layout"), LAYOUTS, strict=True):
        if layout.marks and all((root / mark).is_dir() for mark in layout.marks):
            return name
    return None
