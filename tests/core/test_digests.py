"""Cached digests: only changed files are read again, whatever their modification times."""

import json
import os
import time
from pathlib import Path

import pytest

from pipeline.core import digests as module
from pipeline.core.digests import cached_digests, contents_digest, file_digest

OLD = (1_500_000_000, 1_500_000_000)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Return files, and a function that returns their digests and the names of files read; the cache has no delay."""
    paths = {name: tmp_path / name for name in "abc"}
    for name, path in paths.items():
        path.write_text(name)
        os.utime(path, OLD)
    monkeypatch.setattr(module, "_MIN_AGE", 0)
    read = []

    def digests(**options):
        read.clear()
        by_path = cached_digests(map(str, paths.values()), tmp_path / "cache.json", "d", **options)
        return [by_path[str(path)] for path in paths.values()], sorted(read)

    monkeypatch.setattr(module, "file_digest", lambda path: read.append(Path(path).name) or file_digest(path))
    return paths, digests


def test_unchanged_files_are_read_once(files):
    _, digests = files
    first, read = digests()
    assert read == ["a", "b", "c"]
    assert len(set(first)) == 3
    assert digests() == (first, [])
    assert digests(again=True) == (first, ["a", "b", "c"])


def test_a_touched_file_is_read_and_has_the_same_digest(files):
    paths, digests = files
    first, _ = digests()
    os.utime(paths["b"])
    assert digests() == (first, ["b"])
    assert digests() == (first, [])


@pytest.mark.parametrize("change", ["in place", "replaced", "swapped", "longer"])
def test_changes_with_an_old_modification_time_are_detected(files, tmp_path, change):
    paths, digests = files
    first, _ = digests()
    if change == "in place":
        with paths["a"].open("r+") as file:
            file.write("x")
    elif change == "longer":
        paths["a"].write_text("aa")
    elif change == "replaced":
        (tmp_path / "new").write_text("x")
        os.utime(tmp_path / "new", OLD)
        (tmp_path / "new").rename(paths["a"])
    else:
        paths["a"].rename(tmp_path / "x")
        paths["b"].rename(paths["a"])
        (tmp_path / "x").rename(paths["b"])
    os.utime(paths["a"], OLD)
    second, _ = digests()
    if change == "swapped":
        assert second == [first[1], first[0], first[2]]
    else:
        assert second[0] != first[0]
        assert second[1:] == first[1:]
    assert second == [file_digest(path) for path in paths.values()]


def test_digests_of_recently_changed_files_are_not_cached(files, monkeypatch):
    _, digests = files
    monkeypatch.setattr(module, "_MIN_AGE", 10**12)
    digests()
    assert digests()[1] == ["a", "b", "c"]


def test_missing_and_unreadable_files_have_no_digest(files):
    paths, digests = files
    first, _ = digests()
    paths["a"].unlink()
    paths["b"].unlink()
    paths["b"].mkdir()
    assert digests()[0] == ["", "", first[2]]
    paths["a"].write_text("a")
    assert digests()[0] == [first[0], "", first[2]]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2, "files": {}}', '{"files": {"a": [1, 2]}}'])
def test_an_invalid_cache_is_ignored(files, tmp_path, text):
    _, digests = files
    first, _ = digests()
    (tmp_path / "cache.json").write_text(text)
    assert digests() == (first, ["a", "b", "c"])
    assert digests() == (first, [])


def test_a_cache_that_cannot_be_written_is_logged(files, tmp_path, capsys):
    _, digests = files
    (tmp_path / "cache.json").mkdir()
    first, _ = digests()
    assert digests() == (first, ["a", "b", "c"])
    assert "cannot cache the digests of raw files" in capsys.readouterr().err


def test_the_cache_holds_only_the_requested_files(files, tmp_path):
    paths, digests = files
    digests()
    paths["d"] = tmp_path / "d"
    paths["d"].write_text("d")
    del paths["a"]
    digests()
    assert {Path(name).name for name in json.loads((tmp_path / "cache.json").read_text())["files"]} == {*"bcd"}


def test_the_digest_of_a_folder_covers_names_and_bytes(tmp_path):
    def folder(name, **files):
        for file, text in files.items():
            path = tmp_path / name / file.replace("_", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return contents_digest(tmp_path / name)

    original = folder("one", a="1", b_c="2")
    time.sleep(0.01)
    assert folder("same", b_c="2", a="1") == original
    assert folder("swapped", a="2", b_c="1") != original
    assert folder("renamed", x="1", b_c="2") != original
    assert folder("more", a="1", b_c="2", d="") != original
    (tmp_path / "one/.snakemake_timestamp").touch()
    assert contents_digest(tmp_path / "one") == original
