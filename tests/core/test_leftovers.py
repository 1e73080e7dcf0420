"""Leftovers of killed writers, and concurrent writers of the same file."""

import errno
import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pipeline.core import files
from pipeline.core.errors import OutputError
from pipeline.core.files import PARTIAL, atomic_file, atomic_folder, is_being_written, write_text

WRITER = """
import sys
from pathlib import Path
from pipeline.core import files

with getattr(files, sys.argv[1])(Path(sys.argv[2])) as temporary:
    path = temporary / "inside" if sys.argv[1] == "atomic_folder" else temporary
    path.write_text("half")
    print("writing", flush=True)
    sys.stdin.read()
"""
WRITERS = pytest.mark.parametrize("writer", ["atomic_file", "atomic_folder"])


class Writer:
    """A process that has written half of a file or folder and waits."""

    def __init__(self, writer, path):
        command = [sys.executable, "-c", WRITER, writer, str(path)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "writing\n"

    def end(self):
        self.process.communicate("", timeout=60)
        assert self.process.returncode == 0

    def kill(self):
        self.process.kill()
        self.process.communicate()


def leftovers(folder):
    return [path for path in folder.iterdir() if PARTIAL.match(path.name)]


def write(writer, path, text="complete"):
    with getattr(files, writer)(path) as temporary:
        (temporary / "inside" if writer == "atomic_folder" else temporary).write_text(text)


def read(writer, path):
    return (path / "inside" if writer == "atomic_folder" else path).read_text()


@WRITERS
def test_the_next_writer_removes_leftovers_of_a_killed_one(tmp_path, writer):
    for name in ("a.csv", "a.csv", "b.csv"):
        Writer(writer, tmp_path / name).kill()
    assert len(leftovers(tmp_path)) == 2  # the second writer of a.csv removed the leftover of the first
    write(writer, tmp_path / "a.csv")
    assert [PARTIAL.sub("", path.name) for path in leftovers(tmp_path)] == ["b.csv"]
    assert read(writer, tmp_path / "a.csv") == "complete"


@WRITERS
def test_files_of_a_running_writer_stay(tmp_path, writer):
    path = tmp_path / "a"
    slow = Writer(writer, path)
    write(writer, path)
    assert read(writer, path) == "complete"
    assert len(leftovers(tmp_path)) == 1
    slow.end()
    assert read(writer, path) == "half"
    assert leftovers(tmp_path) == []


def test_files_with_similar_names_are_not_leftovers(tmp_path):
    others = [files.partial_name("other.csv"), ".partial-a.csv", files.partial_name("xa.csv"), "a.csv.partial"]
    for name in others:
        (tmp_path / name).write_text("mine")
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / files.partial_name("a.csv")).symlink_to(precious)
    write_text(tmp_path / "a.csv", "text")
    assert {path.name for path in tmp_path.iterdir()} == {*others, "precious", "a.csv"}
    assert precious.read_text() == "precious"


@WRITERS
def test_a_file_removed_before_its_lock_is_created_again(tmp_path, monkeypatch, writer):
    path, lost, lock = tmp_path / "a", [], files._lock

    def slow_lock(handle):
        if not lost:  # another process removes the unlocked file
            lost.extend(leftovers(tmp_path))
            files._remove(lost[0])
        return lock(handle)

    monkeypatch.setattr(files, "_lock", slow_lock)
    write(writer, path)
    assert len(lost) == 1
    assert read(writer, path) == "complete"
    assert leftovers(tmp_path) == []


@WRITERS
def test_a_file_locked_by_another_process_is_created_again(tmp_path, monkeypatch, writer):
    path, doomed, handles, lock = tmp_path / "a", [], [], files._lock

    def slow_lock(handle):
        if not doomed:  # another process locks the file, and removes it later
            doomed.extend(leftovers(tmp_path))
            handles.append(os.open(doomed[0], os.O_RDONLY))
            fcntl.flock(handles[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
        return lock(handle)

    monkeypatch.setattr(files, "_lock", slow_lock)
    with getattr(files, writer)(path) as temporary:
        assert [temporary] != doomed
        files._remove(doomed[0])
        (temporary / "inside" if writer == "atomic_folder" else temporary).write_text("complete")
    os.close(handles[0])
    assert read(writer, path) == "complete"
    assert leftovers(tmp_path) == []


@WRITERS
def test_without_locks_no_leftovers_are_removed(tmp_path, monkeypatch, writer):
    def unsupported(handle, operation):
        raise OSError(38, os.strerror(38))

    monkeypatch.setattr(files.fcntl, "flock", unsupported)
    (tmp_path / files.partial_name("a")).write_text("perhaps of a running writer")
    write(writer, tmp_path / "a")
    assert read(writer, tmp_path / "a") == "complete"
    assert len(leftovers(tmp_path)) == 1


@WRITERS
def test_files_of_another_machine_stay(tmp_path, monkeypatch, writer):
    """Locks of another machine on a network file system are invisible."""
    path = tmp_path / "a"
    with monkeypatch.context() as patched:
        patched.setattr(files.socket, "gethostname", lambda: "another")
        foreign = tmp_path / files.partial_name("a")
    foreign.mkdir()
    write(writer, path)
    assert leftovers(tmp_path) == [foreign]
    local = tmp_path / files.partial_name("a")
    local.mkdir()
    write(writer, path)
    assert leftovers(tmp_path) == [foreign]


@WRITERS
def test_a_running_writer_is_detected_by_its_lock(tmp_path, writer):
    with getattr(files, writer)(tmp_path / "a") as temporary:
        assert is_being_written(temporary)
        (temporary / "inside" if writer == "atomic_folder" else temporary).write_text("complete")
    assert not is_being_written(temporary)
    killed = Writer(writer, tmp_path / "b")
    killed.kill()
    assert not is_being_written(leftovers(tmp_path)[0])


def test_a_running_writer_of_another_user_is_detected(tmp_path, monkeypatch):
    """The file of another user may only be read."""
    original_open = os.open

    def only_read(path, flags, *more):
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return original_open(path, flags, *more)

    with atomic_file(tmp_path / "a") as temporary:
        with monkeypatch.context() as patched:
            patched.setattr(files.os, "open", only_read)
            assert is_being_written(temporary)
        temporary.write_text("complete")


@WRITERS
def test_a_file_that_is_always_locked_is_reported(tmp_path, monkeypatch, writer):
    def held(_):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(files, "_lock", held)
    with pytest.raises(OutputError, match="another job writes the same file"):
        write(writer, tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("has_syncfs", [True, False])
def test_without_syncfs_all_file_systems_are_synced(tmp_path, monkeypatch, has_syncfs):
    synced = []

    class Library:
        def __init__(self, *_, **__):
            if has_syncfs:
                self.syncfs = lambda handle: -1

    monkeypatch.setattr(files.ctypes, "CDLL", Library)
    monkeypatch.setattr(files.ctypes, "get_errno", lambda: errno.ENOSYS)
    monkeypatch.setattr(files.os, "sync", lambda: synced.append(1))
    write("atomic_folder", tmp_path / "a")
    assert synced == [1]
    if has_syncfs:
        monkeypatch.setattr(files.ctypes, "get_errno", lambda: errno.ENOSPC)
        with pytest.raises(OutputError, match="free some disk space"):
            write("atomic_folder", tmp_path / "a")


@WRITERS
def test_a_failed_lock_leaves_no_file_and_no_handle(tmp_path, monkeypatch, writer):
    def refused(*_):
        raise PermissionError(1, os.strerror(1))

    handles = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patched:
        patched.setattr(files, "_lock", refused)
        with pytest.raises(OutputError, match="not permitted"):
            write(writer, tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) == handles


def test_concurrent_writers_of_a_folder_do_not_mix(tmp_path):
    path = tmp_path / "images"
    failures = []

    def write_repeatedly(name):
        try:
            for _ in range(40):
                with atomic_folder(path) as folder:
                    for index in range(3):
                        (folder / f"{name}{index}").write_text(name)
        except OutputError as error:
            failures.append(error)

    writers = [threading.Thread(target=write_repeatedly, args=(name,)) for name in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failures == []
    names = sorted(file.name for file in path.iterdir())
    assert names in ([f"{name}{index}" for index in range(3)] for name in "abc")
    assert leftovers(tmp_path) == []


def test_a_file_that_was_not_written_is_an_error(tmp_path):
    with pytest.raises(OutputError, match="No such file"), atomic_file(tmp_path / "a.png"):
        pass  # like a library that fails without an error
    write_text(tmp_path / "empty.txt", "")
    assert [path.name for path in tmp_path.iterdir()] == ["empty.txt"]


def test_a_folder_that_cannot_be_renamed_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "images"
    write("atomic_folder", path, "old")
    replace = files.Path.replace

    def full(self, target):
        if (self / "inside").exists() and (self / "inside").read_text() == "new":
            raise OSError(28, os.strerror(28))
        return replace(self, target)

    monkeypatch.setattr(files.Path, "replace", full)
    with pytest.raises(OutputError, match="free some disk space"):
        write("atomic_folder", path, "new")
    assert read("atomic_folder", path) == "old"
    assert leftovers(tmp_path) == []


def test_a_file_removed_right_after_creation_is_created_again(tmp_path, monkeypatch):
    created = []
    touch = Path.touch

    def touch_then_lose(path, **options):
        touch(path, **options)
        created.append(path)
        if len(created) == 1:
            path.unlink()

    monkeypatch.setattr(Path, "touch", touch_then_lose)
    write_text(tmp_path / "a", "complete")
    assert len(created) == 2
    assert (tmp_path / "a").read_text() == "complete"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
