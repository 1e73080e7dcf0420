"""Atomic writes of files and folders: a final name never refers to incomplete contents.

A writer writes to a hidden temporary name in the same folder and holds a lock on it. The operating system releases the
lock when the writer ends, even if it is killed. So the next writer of the same name recognizes and removes leftovers
of a killed writer, and keeps the files of a running one. Leftovers stay on file systems without locks, and if they are
from another machine: locks on folders of a network file system are local to a machine. `python -m pipeline clean`
lists them.
"""

import ctypes
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
import stat
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from pipeline.core.errors import OutputError

_MAX_NAME, _MAX_PATH = 255, 4095  # bytes, of Linux and most file systems

_ATTEMPTS = 100  # in case other processes write the same file at the same time

_REMEDIES = {
    errno.ENOSPC: "free some disk space, then run the same command again",
    errno.EDQUOT: "free some of your quota, then run the same command again",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f), or choose another disk",
    errno.EROFS: "choose a folder on a disk that can be written",
    errno.EACCES: "make the folder writable (chmod u+wx), or choose another one",
    errno.EPERM: "make the folder writable (chmod u+wx), or choose another one",
    errno.ENOTDIR: "a file has the name of a required folder: move it away",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.EBUSY: "another job writes the same file: wait until it has ended, then run the same command again",
    errno.EEXIST: "a file has the name of a required folder: move it away",
    errno.EISDIR: "a folder has the name of the file: name another file",
}


def output_problem(path: Path, error: OSError) -> OutputError:
    """Convert an `OSError` raised while writing `path` into an error with a remedy."""
    remedy = _REMEDIES.get(error.errno or 0, "check the folder and the disk, then run the same command again")
    reason = os.strerror(error.errno) if error.errno else str(error)
    return OutputError(str(path), reason, "a writable path", remedy)


def name_bytes(text: str) -> bytes:
    """Return a path or a name as bytes of UTF-8, in any locale: `os.fsencode` may know ASCII only."""
    return text.encode("utf-8", "surrogateescape")


def has_long_name(name: str) -> bool:
    """Return whether a file name has more bytes than file systems allow."""
    return len(name_bytes(name)) > _MAX_NAME


def require_short(output: Path, contents: str = "") -> None:
    """Refuse a path for results that is too long to write, or has no name, before work is done for it.

    Parameters
    ----------
    output : Path
        A file or folder.
    contents : str
        The longest path of a file in the folder.

    Raises
    ------
    OutputError
    """
    if output.name in ("", ".."):
        found = f"{str(output)!r}, a path that ends with no name"
        raise OutputError(str(output), found, "the name of a file or folder to write", "append a name")
    name, path = name_bytes(partial_name(output.name)), name_bytes(str(output.absolute() / contents))
    prefix = len(name) - len(name_bytes(output.name))
    if len(name) > _MAX_NAME or any(len(part) > _MAX_NAME for part in path.split(b"/")):
        found, expected = "a name that is too long", f"at most {_MAX_NAME - prefix} bytes in the last name"
        raise OutputError(str(output), found, expected, "choose a shorter name")
    if len(path) + prefix > _MAX_PATH:
        found, expected = f"a path of {len(path)} bytes", f"at most {_MAX_PATH - prefix} bytes"
        raise OutputError(str(output), found, expected, "choose a folder with a shorter path")


PARTIAL = re.compile(r"\.([0-9a-f]{4})[0-9a-f]{8}\.partial-")
"""Prefix of the names of incomplete, or partly removed, files and folders; the group identifies the machine."""


def partial_name(name: str) -> str:
    """Return a unique hidden name with the same suffix, by which image encoders choose the format."""
    return f".{_machine_id()}{uuid.uuid4().hex[:8]}.partial-{name}"


def _machine_id() -> str:
    """Return four hexadecimal digits of the digest of the host name."""
    return hashlib.sha256(socket.gethostname().encode("utf-8", "surrogateescape")).hexdigest()[:4]


def _temporary_path(path: Path) -> Path:
    """Return a unique hidden path in the folder of `path`, hence on the same file system."""
    return path.with_name(partial_name(path.name))


def _remove(path: Path) -> None:
    """Remove a file, a link or a folder if it exists; ignore errors."""
    if is_folder(path) and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _lock(handle: int) -> bool:
    """Lock an open file or folder until it is closed; return False if it cannot be locked (no locks on this system).

    Raises
    ------
    BlockingIOError
        If another process holds the lock.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True


def is_foreign(path: Path) -> bool:
    """Return whether a temporary name is from another machine, whose locks may be invisible on this one."""
    match = PARTIAL.match(path.name)
    return match is not None and match[1] != _machine_id()


def _open(path: Path) -> int:
    """Open a file or a folder for locking; network file systems lock only files that are open for writing."""
    if not path.is_dir():
        with suppress(PermissionError):
            return os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)


def is_being_written(path: Path) -> bool:
    """Return whether a process on this machine holds the lock of a temporary file or folder."""
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
    """Remove temporary files and folders of killed writers of `path` on this machine.

    A temporary file that can be locked has no running writer, except for one that has just created the file and not yet
    locked it. Such a writer finds its file removed, or locked by the process that removes it, and starts again
    (`_create_temporary`).
    """
    with suppress(OSError):
        for name in os.listdir(path.parent):
            match = PARTIAL.match(name)
            if match is None or name[match.end() :] != path.name:
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


def _create_temporary(path: Path, folder: bool) -> tuple[Path, int]:
    """Create an empty file or folder beside `path`, locked until the returned handle is closed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    for _ in range(_ATTEMPTS):
        temporary = _temporary_path(path)
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
                    os.utime(temporary, (0, 0))  # `atomic_file` detects by this time that nothing was written
                undo.pop_all()
                return temporary, handle
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(path))


def _sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` durable; ignore file systems that cannot sync folders."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def _sync_file_system(handle: int) -> None:
    """Write all pending data of the file system of an open folder to disk."""
    sync = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if sync is not None and sync(handle) == 0:
        return
    error = ctypes.get_errno()
    if sync is not None and error != errno.ENOSYS:
        raise OSError(error, os.strerror(error))
    os.sync()  # not Linux, or a sandbox


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Write a file atomically: yield a temporary path that is renamed to `path` if the block succeeds.

    Parameters
    ----------
    path : Path
        The final name. Missing parent folders are created.

    Yields
    ------
    Path
        A path in the same folder, with the same suffix.

    Raises
    ------
    OutputError
        If the folder cannot be created, or the file cannot be written, synced or renamed.
    """
    temporary, handle = None, None
    try:
        temporary, handle = _create_temporary(path, folder=False)
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
    """Write a folder atomically: yield a temporary folder that replaces `path` if the block succeeds.

    Parameters
    ----------
    path : Path
        The final name. A file or folder of this name is removed once the new folder is complete.

    Yields
    ------
    Path
        An empty folder beside the final one.

    Raises
    ------
    OutputError
        If the folder cannot be created, filled or renamed.
    """
    temporary, handle = None, None
    # for a path such as a/../a, of which a part is renamed, and a link to a folder on another disk
    path = path if not path.name else real_path(path) if is_folder(path) else real_path(path.parent) / path.name
    try:
        temporary, handle = _create_temporary(path, folder=True)
        yield temporary
        _sync_file_system(handle)  # once for thousands of images: syncing each of them takes minutes
        _replace_folder(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise output_problem(path, error) from error
    finally:
        if handle is not None:
            os.close(handle)
        if temporary is not None:
            _remove(temporary)


def _replace_folder(temporary: Path, path: Path) -> None:
    """Rename a complete folder to its final name; remove the previous one, even if another process just wrote it."""
    for _ in range(_ATTEMPTS):
        old = _temporary_path(path)
        with suppress(FileNotFoundError):
            path.replace(old)
        try:
            temporary.replace(path)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                _remove(old)
                continue  # another process has just written the same folder
            if os.path.lexists(old):
                _put_back(old, path, error)
            raise
        _remove(old)
        return
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))


def _put_back(old: Path, path: Path, error: OSError) -> None:
    """Give a folder its name back after another could not be renamed to this name because of an error."""
    try:
        old.replace(path)
    except OSError:
        found = f"{error.strerror}, twice: the previous folder is now {old}"
        raise OutputError(
            str(path), found, "a folder that can be renamed", f"rename {old}, then run the command again"
        ) from error


def exists(path: Path) -> bool:
    """Return whether a path exists; not if that is unknown, because a folder may not be searched or a name is too long.

    `Path.exists` raises an error in these cases, as `Path.is_dir` does. Reading or writing the path reports them.
    """
    return os.path.exists(path)  # noqa: PTH110


def is_folder(path: Path) -> bool:
    """Return whether a path is a folder, or a link to one; see `exists`."""
    return os.path.isdir(path)  # noqa: PTH112


def names_in(folder: Path) -> list[str]:
    """List what a folder for results already holds; nothing if it is no folder.

    Raises
    ------
    OutputError
        If it cannot be listed.
    """
    try:
        return os.listdir(folder) if is_folder(folder) else []
    except OSError as error:
        raise output_problem(folder, error) from error


def visible_paths(folder: Path, pattern: str) -> list[Path]:
    """Return the paths in a folder that match a pattern, sorted, without hidden ones.

    Hidden are the temporary names of running writers, and the files that macOS adds to each file on a foreign disk.
    """
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))


def real_path(path: Path) -> Path:
    """Return the path behind all links; of a link to itself, the path of the link."""
    return Path(os.path.realpath(path))  # `Path.resolve` raises an error for a link to itself


def read_json(path: Path) -> Any:  # noqa: ANN401 - any plain data
    """Read a JSON file.

    Raises
    ------
    OSError
    ValueError
        If the file is a pipe or a device, which may have no end, or is not JSON, or nested too deeply.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ValueError("not a regular file")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("JSON that is nested too deeply") from error


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text to `path` atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
