"""Walk through folders and the folders that they link to, without running in circles."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path


def walk(
    root: Path | str, onerror: Callable[[OSError], None] | None = None
) -> Iterator[tuple[str, list[str], list[str]]]:
    """Walk like `os.walk`, follow links to folders, and leave out those that lead back.

    Parameters
    ----------
    root : Path or str
    onerror : callable, optional
        Called with the error of a folder that cannot be listed; by default such folders are passed over.

    Yields
    ------
    str
        A folder.
    list of str
        Names of its subfolders; those that the caller removes are not entered.
    list of str
        Names of its files.
    """
    for folder, subfolders, files in os.walk(root, onerror=onerror, followlinks=True):
        subfolders[:] = [name for name in subfolders if not leads_back(os.path.join(folder, name))]
        yield folder, subfolders, files


def leads_back(path: str) -> bool:
    """Return whether the path of a folder goes through this folder before, by links."""
    full, target = Path.cwd() / path, os.path.realpath(path)
    return str(full) != target and any(os.path.realpath(parent) == target for parent in full.parents)
