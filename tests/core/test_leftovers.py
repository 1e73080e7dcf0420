"""What killed writers leave behind, and what living ones do to each other."""

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
    place = temporary / "inside" if sys.argv[1] == "atomic_folder" else temporary
    place.write_text("half")
    print("writing", flush=True)
    sys.stdin.read()
"""
WRITERS = pytest.mark.parametrize("writer", ["atomic_file", "atomic_folder"])


class Writer:
    """Another process that is in the middle of writing."""

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


def write(writer, path, text="whole"):
    with getattr(files, writer)(path) as temporary:
        (temporary / "inside" if writer == "atomic_folder" else temporary).write_text(text)


def read(writer, path):
    return (path / "inside" if writer == "atomic_folder" else path).read_text()


@WRITERS
def test_the_next_writer_removes_what_a_killed_one_left(tmp_path, writer):
    for name in ("a.csv", "a.csv", "b.csv"):
        Writer(writer, tmp_path / name).kill()
    assert len(leftovers(tmp_path)) == 2  # the second writer of a.csv removed what the first one left
    write(writer, tmp_path / "a.csv")
    assert [PARTIAL.sub("", path.name) for path in leftovers(tmp_path)] == ["b.csv"]
    assert read(writer, tmp_path / "a.csv") == "whole"


@WRITERS
def test_a_living_writer_is_not_disturbed(tmp_path, writer):
    path = tmp_path / "a"
    slow = Writer(writer, path)
    write(writer, path)
    assert read(writer, path) == "whole"
    assert len(leftovers(tmp_path)) == 1
    slow.end()
    assert read(writer, path) == "half"
    assert leftovers(tmp_path) == []


def test_what_only_looks_like_a_leftover_of_this_name_stays(tmp_path):
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
def test_a_writer_that_lost_its_file_before_it_was_locked_begins_again(tmp_path, monkeypatch, writer):
    path, lost, lock = tmp_path / "a", [], files._lock

    def slow_lock(handle):
        if not lost:  # somebody removes what is not locked yet
            lost.extend(leftovers(tmp_path))
            files._remove(lost[0])
        return lock(handle)

    monkeypatch.setattr(files, "_lock", slow_lock)
    write(writer, path)
    assert len(lost) == 1
    assert read(writer, path) == "whole"
    assert leftovers(tmp_path) == []


@WRITERS
def test_a_writer_gives_up_what_somebody_holds_to_remove(tmp_path, monkeypatch, writer):
    path, doomed, handles, lock = tmp_path / "a", [], [], files._lock

    def slow_lock(handle):
        if not doomed:  # somebody locks first, and is slow to remove
            doomed.extend(leftovers(tmp_path))
            handles.append(os.open(doomed[0], os.O_RDONLY))
            fcntl.flock(handles[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
        return lock(handle)

    monkeypatch.setattr(files, "_lock", slow_lock)
    with getattr(files, writer)(path) as temporary:
        assert [temporary] != doomed
        files._remove(doomed[0])
        (temporary / "inside" if writer == "atomic_folder" else temporary).write_text("whole")
    os.close(handles[0])
    assert read(writer, path) == "whole"
    assert leftovers(tmp_path) == []


@WRITERS
def test_without_locks_everything_is_written_and_nothing_removed(tmp_path, monkeypatch, writer):
    def unsupported(handle, operation):
        raise OSError(38, os.strerror(38))

    monkeypatch.setattr(files.fcntl, "flock", unsupported)
    (tmp_path / files.partial_name("a")).write_text("perhaps of a living writer")
    write(writer, tmp_path / "a")
    assert read(writer, tmp_path / "a") == "whole"
    assert len(leftovers(tmp_path)) == 1


@WRITERS
def test_what_another_machine_writes_or_left_stays(tmp_path, monkeypatch, writer):
    """Its lock on a folder of a network file system is not seen here."""
    path = tmp_path / "a"
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(files.socket, "gethostname", lambda: "another")
        theirs = tmp_path / files.partial_name("a")
    theirs.mkdir()
    write(writer, path)
    assert leftovers(tmp_path) == [theirs]
    ours = tmp_path / files.partial_name("a")
    ours.mkdir()
    write(writer, path)
    assert leftovers(tmp_path) == [theirs]


@WRITERS
def test_a_temporary_name_tells_whether_its_writer_is_alive(tmp_path, writer):
    with getattr(files, writer)(tmp_path / "a") as temporary:
        assert is_being_written(temporary)
        (temporary / "inside" if writer == "atomic_folder" else temporary).write_text("whole")
    assert not is_being_written(temporary)
    dead = Writer(writer, tmp_path / "b")
    dead.kill()
    assert not is_being_written(leftovers(tmp_path)[0])


def test_a_living_writer_whose_file_may_only_be_read_is_seen(tmp_path, monkeypatch):
    """As that of another person."""
    really = os.open

    def only_read(path, flags, *more):
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return really(path, flags, *more)

    with atomic_file(tmp_path / "a") as temporary:
        with monkeypatch.context() as patched:
            patched.setattr(files.os, "open", only_read)
            assert is_being_written(temporary)
        temporary.write_text("whole")


@WRITERS
def test_where_somebody_removes_again_and_again_that_is_told(tmp_path, monkeypatch, writer):
    def held(_):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(files, "_lock", held)
    with pytest.raises(OutputError, match="another job writes the same"):
        write(writer, tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("known", [True, False])
def test_where_one_file_system_cannot_be_synced_alone_all_are(tmp_path, monkeypatch, known):
    synced = []

    class Library:
        def __init__(self, *_, **__):
            if known:
                self.syncfs = lambda handle: -1

    monkeypatch.setattr(files.ctypes, "CDLL", Library)
    monkeypatch.setattr(files.ctypes, "get_errno", lambda: errno.ENOSYS)
    monkeypatch.setattr(files.os, "sync", lambda: synced.append(1))
    write("atomic_folder", tmp_path / "a")
    assert synced == [1]
    if known:
        monkeypatch.setattr(files.ctypes, "get_errno", lambda: errno.ENOSPC)
        with pytest.raises(OutputError, match="free some disk space"):
            write("atomic_folder", tmp_path / "a")


@WRITERS
def test_nothing_stays_of_what_could_not_be_begun(tmp_path, monkeypatch, writer):
    def refused(*_):
        raise PermissionError(1, os.strerror(1))

    handles = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patched:
        patched.setattr(files, "_lock", refused)
        with pytest.raises(OutputError, match="not permitted"):
            write(writer, tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) == handles


def test_two_writers_of_one_folder_do_not_mix(tmp_path):
    path = tmp_path / "images"
    failures = []

    def write_often(name):
        try:
            for _ in range(40):
                with atomic_folder(path) as folder:
                    for index in range(3):
                        (folder / f"{name}{index}").write_text(name)
        except OutputError as error:
            failures.append(error)

    writers = [threading.Thread(target=write_often, args=(name,)) for name in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failures == []
    names = sorted(file.name for file in path.iterdir())
    assert names in ([f"{name}{index}" for index in range(3)] for name in "abc")
    assert leftovers(tmp_path) == []


def test_a_file_that_nobody_wrote_is_no_output(tmp_path):
    with pytest.raises(OutputError, match="No such file"), atomic_file(tmp_path / "a.png"):
        pass  # as a library that fails and does not say so
    write_text(tmp_path / "empty.txt", "")
    assert [path.name for path in tmp_path.iterdir()] == ["empty.txt"]


def test_a_folder_that_cannot_be_put_in_place_leaves_the_old_one(tmp_path, monkeypatch):
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


def test_a_file_that_is_taken_for_a_leftover_at_birth_is_made_again(tmp_path, monkeypatch):
    made = []
    touch = Path.touch

    def taken_at_once(path, **options):
        touch(path, **options)
        made.append(path)
        if len(made) == 1:
            path.unlink()

    monkeypatch.setattr(Path, "touch", taken_at_once)
    write_text(tmp_path / "a", "whole")
    assert len(made) == 2
    assert (tmp_path / "a").read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
