"""Checksummed files of a training state: the current one and the previous one, each written atomically."""

import hashlib
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

from pipeline.core.errors import TrainingError
from pipeline.core.files import atomic_file
from pipeline.core.progress import log

Contents = TypeVar("Contents")

GENERATIONS = ("current.pt", "previous.pt")
"""File names, newest first."""

_DIGEST_SIZE = 32


def write_current(folder: Path, write: Callable[["DigestedFile"], None]) -> None:
    """Write the current file with its checksum; the current file until now becomes the previous one.

    Parameters
    ----------
    folder : Path
        Created if it is missing.
    write : callable
        Writes the contents.

    Raises
    ------
    OutputError
        If it cannot be written; the files written before are kept.
    """
    current, previous = (folder / name for name in GENERATIONS)
    with atomic_file(current) as temporary:
        with temporary.open("wb") as file:
            digested = DigestedFile(file)
            try:
                write(digested)
            except RuntimeError:
                if digested.error is not None:  # writers such as torch do not always report why a write failed
                    raise digested.error from None
                raise
            file.write(digested.sha256.digest())
        with suppress(FileNotFoundError):
            current.replace(previous)


def read_newest(
    folder: Path, read: Callable[[memoryview], Contents], failures: tuple[type[Exception], ...]
) -> Contents | None:
    """Read the newest intact file of a folder.

    A corrupt file is logged and deleted, so that it never replaces an intact one. A file that cannot be read now,
    because memory is short or a disk does not respond, may hold days of work and is kept.

    Parameters
    ----------
    read : callable
        Decodes the contents.
    failures : tuple of exception types
        Exceptions that `read` raises on failure.

    Returns
    -------
    object or None
        The result of `read`; None if no file is intact.

    Raises
    ------
    TrainingError
        If a file cannot be read, or `read` fails on an intact one.
    """
    corrupt_count = 0
    for name in GENERATIONS:
        path = folder / name
        try:
            contents = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, MemoryError) as error:
            raise _read_error(path, error) from error
        body = memoryview(contents)[:-_DIGEST_SIZE]
        if hashlib.sha256(body).digest() == contents[-_DIGEST_SIZE:]:
            try:
                return read(body)
            except failures as error:
                raise _read_error(path, error) from error
        log(f"{path}: corrupt state (checksum mismatch), ignored")
        corrupt_count += 1
        with suppress(OSError):
            path.unlink()
    if corrupt_count:
        log(f"{folder}: no intact state left, training restarts from the beginning")
    return None


def _read_error(path: Path, error: Exception) -> TrainingError:
    return TrainingError(
        str(path),
        " ".join(str(error).split())[:160] or type(error).__name__,
        "a readable training state",
        "run the same command again, with more memory if it ran out; without this file training resumes from the "
        "previous state, or restarts",
    )


def remove_state(folder: Path) -> None:
    """Delete the folder of a state, and its parent folder if that is then empty."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        folder.parent.rmdir()


class DigestedFile:
    """A binary file for writing that computes the SHA-256 of the bytes written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        """Write bytes."""
        self.sha256.update(data)
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        """Flush the file."""
        self._file.flush()
