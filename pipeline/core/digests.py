"""SHA-256 of files: of one, of a folder, and of many that are read again only where they changed."""

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

_SETTLED = 2 * 10**9
"""Nanoseconds: a file that changed less than that before it was read may change again within the same tick of the
file system's clock, so what was read is not kept."""

FileState = tuple[int, int, int, int]
"""Size, last change of the contents (ns), last change of the entry (ns; nobody can set it back), and inode."""


files_read: dict[str, str] = {}
"""The SHA-256 of raw files as this process has read them: `changed_since` compares them."""


class _Kept(BaseModel):
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
    """Return the SHA-256 of a file; of a folder, that of the names and digests of all files in it.

    Hidden files do not count: Snakemake leaves one in each folder that a job made.

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
    """Remember what a raw file held when it was read."""
    files_read[str(path)] = hashlib.sha256(data).hexdigest()


def changed_since(cache: Path) -> list[str]:
    """Return the files that this process has read with other contents than `cache` keeps (see `cached_digests`)."""
    known = _read(cache)
    return sorted(path for path, digest in files_read.items() if path in known and known[path][4] != digest)


def cached_digests(paths: Iterable[str], cache: Path, what: str, *, again: bool = False) -> dict[str, str]:
    """Return the SHA-256 of files; those that have not changed since they were read are not read again.

    A file has not changed where its size, its last change, the last change of its entry and its inode are as `cache`
    says: copying another file over it with an old time (``cp -p``, ``rsync -a``) changes the entry. The cache may be
    deleted at any time; one that cannot be read or written is done without, and processes that write it at the same
    time each put a whole one in place.

    Parameters
    ----------
    paths : iterable of str
    cache : Path
        JSON file; after the call it holds these files alone.
    what : str
        The data set, for messages.
    again : bool
        Read all files again.

    Returns
    -------
    dict of str to str
        Path to hexadecimal digest; for a file that is missing or cannot be read, an empty text.
    """
    known = {} if again else _read(cache)
    states = {path: file_state(path) for path in dict.fromkeys(paths)}
    digests = {path: known[path][4] for path, state in states.items() if path in known and known[path][:4] == state}
    missing = [path for path in states if path not in digests]
    if missing:
        now = time.time_ns()
        read = progress_bar(thread_map(_try, missing, os.cpu_count() or 1), f"{what}: digests of raw files", len(missing))
        digests |= dict(zip(missing, read, strict=True))
        kept = {
            path: (*state, digests[path])
            for path, state in states.items()
            if state is not None and digests[path] and max(state[1:3]) < now - _SETTLED
        }
        if kept != known:
            try:
                write_text(cache, _Kept(files=kept).model_dump_json())
            except OutputError as error:
                log(f"{what}: digests of raw files are not kept, and all will be read again. {error}")
    return digests


def file_state(path: str) -> FileState | None:
    """Return by what an unchanged file is told; None where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - ten times as fast where there are 100,000 files
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _try(path: str) -> str:
    try:
        return file_digest(path)
    except OSError:
        return ""


def _read(cache: Path) -> dict[str, tuple[int, int, int, int, str]]:
    try:
        return _Kept.model_validate_json(cache.read_bytes()).files
    except (OSError, ValidationError):
        return {}
