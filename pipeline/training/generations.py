"""Bytes that are worth keeping, in a folder: whole or not there, the newest and the one before."""

import hashlib
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

from pipeline.core.errors import TrainingError
from pipeline.core.files import atomic_file
from pipeline.core.progress import log

Kept = TypeVar("Kept")

GENERATIONS = ("current.pt", "previous.pt")
"""The newest first."""

_DIGEST_SIZE = 32


def keep(folder: Path, write: Callable[["DigestedFile"], None]) -> None:
    """Write a file with its checksum; what was the newest becomes the one before.

    Parameters
    ----------
    folder : Path
        Made where it is missing.
    write : callable
        Writes the contents.

    Raises
    ------
    OutputError
        If it cannot be written; what was kept before is still there.
    """
    current, previous = (folder / name for name in GENERATIONS)
    with atomic_file(current) as temporary:
        with temporary.open("wb") as file:
            digested = DigestedFile(file)
            try:
                write(digested)
            except RuntimeError:
                if digested.error is not None:  # whoever writes, such as torch, may not say why that failed
                    raise digested.error from None
                raise
            file.write(digested.sha256.digest())
        with suppress(FileNotFoundError):
            current.replace(previous)


def newest(folder: Path, read: Callable[[memoryview], Kept], failures: tuple[type[Exception], ...]) -> Kept | None:
    """Read the newest whole file of a folder.

    A torn file is named in the log and removed, so that it can never take the place of a whole one. What only cannot be
    read now, for want of memory or because a disk does not answer, is worth days of work and stays.

    Parameters
    ----------
    read : callable
        Makes something of the contents.
    failures : tuple of exception types
        What it raises where it cannot.

    Returns
    -------
    object or None
        What `read` returns; None where there is nothing whole.

    Raises
    ------
    TrainingError
        If a file cannot be read, or `read` fails on a whole one.
    """
    torn = 0
    for name in GENERATIONS:
        path = folder / name
        try:
            contents = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, MemoryError) as error:
            raise _unreadable_now(path, error) from error
        body = memoryview(contents)[:-_DIGEST_SIZE]
        if hashlib.sha256(body).digest() == contents[-_DIGEST_SIZE:]:
            try:
                return read(body)
            except failures as error:
                raise _unreadable_now(path, error) from error
        log(f"{path}: no whole state (its checksum does not match); it is left out")
        torn += 1
        with suppress(OSError):
            path.unlink()
    if torn:
        log(f"{folder}: no whole state is left; the training starts anew")
    return None


def _unreadable_now(path: Path, error: Exception) -> TrainingError:
    return TrainingError(
        str(path),
        " ".join(str(error).split())[:160] or type(error).__name__,
        "the state of a training, which can be read",
        "run the same command again, with more memory where that is short; without this file it goes on from the one "
        "before, or starts anew",
    )


def remove_state(folder: Path) -> None:
    """Remove such a folder, and the one above where nothing else lies in it."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        folder.parent.rmdir()


class DigestedFile:
    """A file that is written to, with the checksum of what went through."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        """Write some bytes."""
        self.sha256.update(data)
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        """Hand on what was written."""
        self._file.flush()
