"""Write files and folders so that nothing half-written ever stands under a final name.

What is being written has a hidden name beside the final one, and its writer holds a lock on it. The system takes the
lock back when the writer ends, however it ends: so the next writer of the same name can tell what a killed one left,
and removes it, and a living writer's work stays. Where a file system has no locks, nothing is removed, and nothing that
another machine left: locks on folders of a network file system hold on one machine only. `python -m pipeline clean`
finds what stays.
"""

import ctypes
import errno
import fcntl
import hashlib
import os
import re
import shutil
import socket
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from pipeline.core.errors import OutputError

_TRIES = 100  # against others who write the same at the same time

_REMEDIES = {
    errno.ENOSPC: "free some disk space, then run the same command again",
    errno.EDQUOT: "free some of your quota, then run the same command again",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f), or choose another disk",
    errno.EROFS: "choose a folder on a disk that can be written",
    errno.EACCES: "make the folder writable (chmod u+w), or choose another one",
    errno.EPERM: "make the folder writable (chmod u+w), or choose another one",
    errno.ENOTDIR: "a file stands where a folder is needed: move it away",
    errno.EBUSY: "another job writes the same: wait until it has ended, then run the same command again",
    errno.EEXIST: "a file stands where a folder is needed: move it away",
}


def output_problem(path: Path, error: OSError) -> OutputError:
    """Turn an `OSError` met while writing `path` into an error that says what to do."""
    remedy = _REMEDIES.get(error.errno or 0, "check the folder and the disk, then run the same command again")
    found = os.strerror(error.errno) if error.errno else str(error)
    return OutputError(str(path), found, "a place that can be written", remedy)


PARTIAL = re.compile(r"\.([0-9a-f]{4})[0-9a-f]{8}\.partial-")
"""How the name of what is not finished, or half removed, begins; its first part says on which machine."""


def partial_name(name: str) -> str:
    """Return a hidden name that nobody else uses; the ending stays, because image encoders choose the format by it."""
    return f".{_machine()}{uuid.uuid4().hex[:8]}.partial-{name}"


def _machine() -> str:
    """Return four hexadecimal digits that differ, mostly, from machine to machine."""
    return hashlib.sha256(socket.gethostname().encode("utf-8", "surrogateescape")).hexdigest()[:4]


def _temporary(path: Path) -> Path:
    """Name a hidden neighbour of `path` (same file system) that no other writer uses."""
    return path.with_name(partial_name(path.name))


def _remove(path: Path) -> None:
    """Remove a file, a link or a folder, if it is there and as far as it can be removed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _lock(handle: int) -> bool:
    """Lock an open file or folder until it is closed; False where there are no locks.

    Raises
    ------
    BlockingIOError
        If somebody else holds the lock.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True


def is_foreign(path: Path) -> bool:
    """Tell whether a temporary name was given on another machine, whose locks may not be seen here."""
    found = PARTIAL.match(path.name)
    return found is not None and found[1] != _machine()


def _open(path: Path) -> int:
    """Open a file or a folder to lock it; a network file system locks no file that is only read."""
    if not path.is_dir():
        with suppress(PermissionError):
            return os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)


def is_being_written(path: Path) -> bool:
    """Tell whether the writer of a temporary name is alive, as far as locks can tell on this machine."""
    try:
        handle = _open(path)
    except OSError:
        return False
    try:
        _lock(handle)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _remove_leftovers(path: Path) -> None:
    """Remove what killed writers of `path` on this machine left beside it.

    Whoever can lock a temporary name knows that its writer is dead. A writer that has made its file and not yet locked
    it looks dead for a moment; it sees that it lost the file, or that somebody holds it to remove it, and begins again
    (`_begin`).
    """
    with suppress(OSError):
        for name in os.listdir(path.parent):
            found = PARTIAL.match(name)
            if found is None or name[found.end() :] != path.name:
                continue
            leftover = path.with_name(name)
            if is_foreign(leftover):
                continue
            if leftover.is_symlink():
                _remove(leftover)
                continue
            with suppress(OSError):
                handle = _open(leftover)
                try:
                    if _lock(handle):
                        _remove(leftover)
                finally:
                    os.close(handle)


def _begin(path: Path, folder: bool) -> tuple[Path, int]:
    """Make an empty file or folder beside `path`, locked as long as the handle that comes with it is open."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    for _ in range(_TRIES):
        temporary = _temporary(path)
        if folder:
            temporary.mkdir()
        else:
            temporary.touch(exist_ok=False)
        with ExitStack() as undo, suppress(FileNotFoundError, BlockingIOError):
            undo.callback(_remove, temporary)
            handle = _open(temporary)
            undo.callback(os.close, handle)
            _lock(handle)
            if os.fstat(handle).st_nlink and temporary.exists():
                if not folder:
                    os.utime(temporary, (0, 0))  # a file that is still so old at the end was never written to
                undo.pop_all()
                return temporary, handle
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(path))


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


def _sync_file_system(handle: int) -> None:
    """Wait until the file system of an open folder holds all that was written; other disks need not be there."""
    sync = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if sync is not None and sync(handle) == 0:
        return
    error = ctypes.get_errno()
    if sync is not None and error != errno.ENOSYS:
        raise OSError(error, os.strerror(error))
    os.sync()  # not Linux, or a sandbox


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
    temporary, handle = None, None
    try:
        temporary, handle = _begin(path, folder=False)
        yield temporary
        with temporary.open("rb+") as written:
            if os.fstat(written.fileno()).st_mtime_ns == 0:
                raise FileNotFoundError(errno.ENOENT, "nothing was written", str(path))
            os.fsync(written.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise output_problem(path, error) from error
    finally:
        if handle is not None:
            os.close(handle)
        if temporary is not None:
            _remove(temporary)


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
    temporary, handle = None, None
    try:
        temporary, handle = _begin(path, folder=True)
        yield temporary
        _sync_file_system(handle)  # once for thousands of images: syncing each of them takes minutes
        _put_in_place(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise output_problem(path, error) from error
    finally:
        if handle is not None:
            os.close(handle)
        if temporary is not None:
            _remove(temporary)


def _put_in_place(temporary: Path, path: Path) -> None:
    """Give a complete folder its final name; what stood there, also from a writer that was faster, goes."""
    for _ in range(_TRIES):
        old = _temporary(path)
        with suppress(FileNotFoundError):
            path.replace(old)
        try:
            temporary.replace(path)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                continue  # another writer of the same folder came in between
            with suppress(OSError):
                old.replace(path)
            raise
        finally:
            _remove(old)
        return
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text to `path`, all or nothing."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
