import contextlib
import errno
import os
from pathlib import Path

import pytest

from pipeline.core.errors import OutputError, Problem
from pipeline.core.files import (
    atomic_file,
    atomic_folder,
    has_long_name,
    names_in,
    read_json,
    require_short,
    write_text,
)
from pipeline.core.tables import write_json


def test_a_file_has_its_final_name_only_when_complete(tmp_path):
    path = tmp_path / "deep" / "a.csv"
    with atomic_file(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        assert temporary.suffix == ".csv"
    assert path.read_text() == "half"
    assert [p.name for p in path.parent.iterdir()] == ["a.csv"]


def test_a_failed_write_keeps_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with contextlib.suppress(KeyboardInterrupt), atomic_file(path) as temporary:
        temporary.write_text("new, but")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_is_replaced_atomically(tmp_path):
    path = tmp_path / "images"
    for names in (("a", "b"), ("c",)):
        with atomic_folder(path) as temporary:
            for name in names:
                (temporary / name).write_text(name)
    assert [p.name for p in path.iterdir()] == ["c"]
    with contextlib.suppress(KeyboardInterrupt), atomic_folder(path) as temporary:
        (temporary / "d").write_text("d")
        raise KeyboardInterrupt
    assert [p.name for p in path.iterdir()] == ["c"]
    assert [p.name for p in tmp_path.iterdir()] == ["images"]


def test_a_folder_that_cannot_be_put_back_is_kept_and_named(tmp_path, monkeypatch):
    with atomic_folder(tmp_path / "images") as folder:
        (folder / "old").touch()
    replace = Path.replace

    def fail(path, target):
        if target.name == "images":
            raise OSError(errno.EIO, "Input/output error")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OutputError) as caught, atomic_folder(tmp_path / "images") as folder:
        (folder / "new").touch()
    (kept,) = tmp_path.iterdir()
    assert [path.name for path in kept.iterdir()] == ["old"]
    assert str(kept) in caught.value.problems[0].remedy


@pytest.mark.parametrize("name", ["images/../images", "images/sub/../../images", "link/../images", "link"])
def test_folders_are_replaced_by_any_of_their_names(tmp_path, name):
    (tmp_path / "images/sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to("images")
    with atomic_folder(tmp_path / name) as folder:
        (folder / "new").touch()
    assert [path.name for path in (tmp_path / "images").iterdir()] == ["new"]
    assert (tmp_path / "link").is_symlink()


def test_unwritable_paths_are_reported_with_a_remedy(tmp_path):
    (tmp_path / "file").write_text("obstacle")
    for write in (write_json, write_text):
        with pytest.raises(OutputError, match=r"file has the name of a required folder") as caught:
            write(tmp_path / "file" / "below.json", "text")
        assert str(tmp_path / "file" / "below.json") in str(caught.value)
    with pytest.raises(OutputError), atomic_folder(tmp_path / "file" / "below"):
        pytest.fail("the block must not run")
    assert (tmp_path / "file").read_text() == "obstacle"


def test_an_error_lists_every_problem_in_four_lines():
    problems = [Problem(f"file{i}", "rust", "iron", "polish it") for i in range(3)]
    text = str(OutputError(problems))
    assert "(3 problems)" in text
    for i in range(3):
        assert f"file{i}\n    found:    rust\n    expected: iron\n    remedy:   polish it" in text


@pytest.mark.parametrize("path", ["x" * 240 + ".h5", "y" * 256 + "/x.h5", "z" * 200 + "/" + ("z" * 200 + "/") * 20])
def test_paths_that_are_too_long_are_refused_before_work(path):
    with pytest.raises(OutputError) as caught:
        require_short(Path(path))
    assert "choose a" in caught.value.problems[0].remedy
    require_short(Path("x" * 200 + ".h5"))


def test_names_are_measured_in_any_locale(monkeypatch):
    monkeypatch.setattr("os.fsencode", lambda text: os.fspath(text).encode("ascii"))
    require_short(Path("ä" * 100))
    assert not has_long_name("ä" * 127)
    assert has_long_name("ä" * 128)


def test_folders_that_cannot_be_searched_are_an_output_error(closed_folder):
    with pytest.raises(OutputError, match="Permission denied"), atomic_folder(closed_folder / "x"):
        pass


@pytest.mark.parametrize("contents", [b"[" * 200_000, b'{"a": ', b"\xff"], ids=["deep", "cut", "no text"])
def test_unreadable_json_is_a_value_error(tmp_path, contents):
    (tmp_path / "a.json").write_bytes(contents)
    with pytest.raises(ValueError, match=r"."):
        read_json(tmp_path / "a.json")


def test_pipes_and_devices_are_not_read_as_json(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    for name in ("pipe.json", "zero.json"):
        with pytest.raises(ValueError, match="not a regular file"):
            read_json(tmp_path / name)


def test_a_folder_that_cannot_be_listed_is_an_output_error(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr("os.listdir", refuse)
    with pytest.raises(OutputError, match="Permission denied"):
        names_in(tmp_path)
    assert names_in(tmp_path / "x") == []
