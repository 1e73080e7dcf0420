"""Registry of all layouts."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.core.errors import Problem
from pipeline.core.options import tag_values, tagged_union
from pipeline.raw.layouts.base import Layout
from pipeline.raw.layouts.drive import Drive
from pipeline.raw.layouts.duts import Duts
from pipeline.raw.layouts.folder import Folder
from pipeline.raw.layouts.shapes import Shapes
from pipeline.raw.layouts.tgs import Tgs

LAYOUTS: tuple[type[Layout], ...] = (Drive, Tgs, Shapes, Duts, Folder)

if TYPE_CHECKING:
    AnyLayout = Layout
else:
    AnyLayout = tagged_union(LAYOUTS, "layout")


def other_layout_problem(layout: str, root: Path, listed: bool) -> Problem | None:
    """Return a problem if the raw files have the folders of another layout, or lie one folder deeper, else None.

    Parameters
    ----------
    layout : str
        Name of the configured layout.
    root : Path
        A raw folder that cannot be listed as configured.
    listed : bool
        Whether samples could be listed nevertheless.
    """
    is_folder = layout == tag_values([Folder], "layout")[0]
    if not root.is_dir() or layout in recognise(root) or (listed and is_folder):
        return None
    folders = [root, *sorted(path for path in root.iterdir() if path.is_dir())]
    matches = [(folder, name) for folder in folders for name in recognise(folder)]
    if not matches and not is_folder and _contains(root, ("images", "masks")):
        matches = [(root, "folder")]
    if not matches:
        return None
    folder, name = next((match for match in matches if match[1] == layout), matches[0])
    changes = [f"`layout: {name}`"] * (name != layout) + [f"`root: {folder}`"] * (folder != root)
    return Problem(
        str(folder),
        f"files that look like layout {name!r}" + (f", for `layout: {layout}`" if name != layout else ""),
        f"the folders of layout {layout!r} in {root}",
        f"set {' and '.join(changes)}",
    )


def recognise(root: Path) -> list[str]:
    """Return the names of the layouts whose folders are all in a folder; `folder` never is, it has no fixed folders."""
    return [
        name
        for name, kind in zip(tag_values(LAYOUTS, "layout"), LAYOUTS, strict=True)
        if kind.marker_folders and _contains(root, kind.marker_folders)
    ]


def _contains(root: Path, folders: Iterable[str]) -> bool:
    # pathlib raises an error where a folder may not be read
    return all(os.path.isdir(root / folder) for folder in folders)  # noqa: PTH112
