"""SHA-256 digests of files and folders, and a cache of digests that reads only changed files again."""

import hashlib
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError

from pipeline.core.errors import OutputError
from pipeline.core.files import write_text
from pipeline.core.parallel import thread_map
from pipeline.core.progress import log, progress_bar

_MIN_AGE = 2 * 10**9
"""Nanoseconds between the last change of a file and its digest, for the digest to be cached: a younger file may change
again within the same tick of the file system's clock."""

FileState = tuple[int, int, int, int]
"""Size, modification time (ns), change time of the inode (ns; cannot be set back), and inode."""


files_read: dict[str, str] = {}
"""SHA-256 of the raw files that this process has read; `changed_since` compares them with a cache."""


class _Cache(BaseModel):
    format: Literal[1] = 1
    files: dict[str, tuple[int, int, int, int, str]]


def file_digest(path: Path | str) -> str:
    """Return the SHA-256 of a file, hexadecimal.

    Raises
    ------
    OSError
    """
    with open(path, "rb") as file:  # noqa: PTH123 - ten times as fast where there are 100,000 files
        return hashlib.file_digest(file, "sha256").hexdigest()


def contents_digest(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and digests of all files in a folder.

    Hidden files are left out: Snakemake writes one into each output folder.

    Raises
    ------
    OSError
    """
    if not path.is_dir():
        return file_digest(path)
    files = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
    digests = thread_map(file_digest, files, os.cpu_count() or 1)
    lines = (f"{file.relative_to(path)}\0{digest}\n" for file, digest in zip(files, digests, strict=True))
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def note_read(path: Path | str, data: bytes) -> None:
    """Record the digest of the contents of a raw file that this process has read."""
    files_read[str(path)] = hashlib.sha256(data).hexdigest()


def changed_since(cache: Path) -> list[str]:
    """Return the files whose contents, as read by this process, differ from the digests in `cache`."""
    cached = _read(cache)
    return sorted(path for path, digest in files_read.items() if path in cached and cached[path][4] != digest)


def cached_digests(paths: Iterable[str], cache: Path, dataset: str, *, again: bool = False) -> dict[str, str]:
    """Return the SHA-256 of files; unchanged files are not read again.

    A file is unchanged if size, modification time, change time and inode equal those in `cache`. Copying another file
    over it with an old modification time (``cp -p``, ``rsync -a``) sets a new change time. The cache may be deleted at
    any time; a cache that cannot be read or written is ignored. Processes that write it at the same time do so
    atomically.

    Parameters
    ----------
    paths : iterable of str
    cache : Path
        JSON file; after the call it holds these files only.
    dataset : str
        Name of the data set, for messages.
    again : bool
        Read all files again.

    Returns
    -------
    dict of str to str
        Path to hexadecimal digest; an empty string for a file that is missing or cannot be read.
    """
    cached = {} if again else _read(cache)
    states = {path: file_state(path) for path in dict.fromkeys(paths)}
    digests = {path: cached[path][4] for path, state in states.items() if path in cached and cached[path][:4] == state}
    changed = [path for path in states if path not in digests]
    if changed:
        start = time.time_ns()
        description = f"{dataset}: digests of raw files"
        read = progress_bar(thread_map(_digest_or_empty, changed, os.cpu_count() or 1), description, len(changed))
        digests |= dict(zip(changed, read, strict=True))
        entries = {
            path: (*state, digests[path])
            for path, state in states.items()
            if state is not None and digests[path] and max(state[1:3]) < start - _MIN_AGE
        }
        if entries != cached:
            try:
                write_text(cache, _Cache(files=entries).model_dump_json())
            except OutputError as error:
                log(f"{dataset}: cannot cache the digests of raw files; the next run reads all files again. {error}")
    return digests


def file_state(path: str) -> FileState | None:
    """Return size, times and inode of a file; None if it does not exist."""
    try:
        status = os.stat(path)  # noqa: PTH116 - ten times as fast where there are 100,000 files
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _digest_or_empty(path: str) -> str:
    try:
        return file_digest(path)
    except OSError:
        return ""


def _read(cache: Path) -> dict[str, tuple[int, int, int, int, str]]:
    try:
        return _Cache.model_validate_json(cache.read_bytes()).files
    except (OSError, ValidationError):
        return {}
