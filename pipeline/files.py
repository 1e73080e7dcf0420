"""Write files and folders so that nothing half-written ever stands under a final name."""

import errno
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import OutputError, Problem

if TYPE_CHECKING:
    import pandas as pd

_REMEDIES = {
    errno.ENOSPC: "free some disk space, then run the same command again",
    errno.EDQUOT: "free some of your quota, then run the same command again",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f), or choose another disk",
    errno.EROFS: "choose a folder on a disk that can be written",
    errno.EACCES: "make the folder writable (chmod u+w), or choose another one",
    errno.EPERM: "make the folder writable (chmod u+w), or choose another one",
    errno.ENOTDIR: "a file stands where a folder is needed: move it away",
    errno.EEXIST: "a file stands where a folder is needed: move it away",
}


def output_problem(path: Path, error: OSError) -> OutputError:
    """Turn an `OSError` met while writing `path` into an error that says what to do."""
    remedy = _REMEDIES.get(error.errno or 0, "check the folder and the disk, then run the same command again")
    found = os.strerror(error.errno) if error.errno else str(error)
    return OutputError(Problem(str(path), found, "a place that can be written", remedy))


PARTIAL = re.compile(r"\.[0-9a-f]{12}\.partial-")
"""How the name of what is not finished, or half removed, begins."""


def partial_name(name: str) -> str:
    """Return a hidden name that nobody else uses; the ending stays, because image encoders choose the format by it."""
    return f".{uuid.uuid4().hex[:12]}.partial-{name}"


def _temporary(path: Path) -> Path:
    """Name a hidden neighbour of `path` (same file system) that no other writer uses."""
    return path.with_name(partial_name(path.name))


def _sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power loss; file systems without folder sync are passed over."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Give a temporary name to write to; it takes the final name only if the block ends well.

    Parameters
    ----------
    path : Path
        The final name. Missing parent folders are made.

    Yields
    ------
    Path
        A name in the same folder, with the same ending.

    Raises
    ------
    OutputError
        If the folder cannot be made, or the file cannot be written, synced or renamed.
    """
    temporary = _temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise output_problem(path, error) from error
    finally:
        if path.parent.is_dir():
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder to fill; it replaces the final one only if the block ends well.

    Parameters
    ----------
    path : Path
        The final name. What stood there before is removed once the new folder is complete.

    Yields
    ------
    Path
        An empty folder beside the final one.

    Raises
    ------
    OutputError
        If the folder cannot be made, filled or renamed.
    """
    temporary = _temporary(path)
    old = _temporary(path)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if path.exists():
            path.replace(old)
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise output_problem(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text to `path`, all or nothing."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, data: Any) -> None:  # noqa: ANN401 - JSON is any plain data
    """Write plain data to `path` as readable JSON with sorted keys, all or nothing."""
    write_text(path, json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def write_table(path: Path, table: "pd.DataFrame") -> None:
    """Write a table to `path` as CSV (floats to 6 decimals, missing values empty), all or nothing."""
    with atomic_file(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6f", lineterminator="\n")
