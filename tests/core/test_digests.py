"""Files are read again where they changed, whatever their times say, and only there."""

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
    """Some files with a cache that keeps at once; call it to get the digests and the names of files that were read."""
    paths = {name: tmp_path / name for name in "abc"}
    for name, path in paths.items():
        path.write_text(name)
        os.utime(path, OLD)
    monkeypatch.setattr(module, "_MIN_AGE", 0)
    read = []

    def digests(**options):
        read.clear()
        found = cached_digests(map(str, paths.values()), tmp_path / "cache.json", "d", **options)
        return [found[str(path)] for path in paths.values()], sorted(read)

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


@pytest.mark.parametrize("how", ["in place", "replaced", "swapped", "longer"])
def test_other_contents_with_an_old_time_are_seen(files, tmp_path, how):
    paths, digests = files
    first, _ = digests()
    if how == "in place":
        with paths["a"].open("r+") as file:
            file.write("x")
    elif how == "longer":
        paths["a"].write_text("aa")
    elif how == "replaced":
        (tmp_path / "new").write_text("x")
        os.utime(tmp_path / "new", OLD)
        (tmp_path / "new").rename(paths["a"])
    else:
        paths["a"].rename(tmp_path / "x")
        paths["b"].rename(paths["a"])
        (tmp_path / "x").rename(paths["b"])
    os.utime(paths["a"], OLD)
    now, _ = digests()
    if how == "swapped":
        assert now == [first[1], first[0], first[2]]
    else:
        assert now[0] != first[0]
        assert now[1:] == first[1:]
    assert now == [file_digest(path) for path in paths.values()]


def test_what_has_just_changed_is_not_kept(files, monkeypatch):
    _, digests = files
    monkeypatch.setattr(module, "_MIN_AGE", 10**12)
    digests()
    assert digests()[1] == ["a", "b", "c"]


def test_what_is_gone_or_cannot_be_read_has_no_digest_and_is_not_kept(files):
    paths, digests = files
    first, _ = digests()
    paths["a"].unlink()
    paths["b"].unlink()
    paths["b"].mkdir()
    assert digests()[0] == ["", "", first[2]]
    paths["a"].write_text("a")
    assert digests()[0] == [first[0], "", first[2]]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2, "files": {}}', '{"files": {"a": [1, 2]}}'])
def test_a_cache_that_is_none_is_done_without(files, tmp_path, text):
    _, digests = files
    first, _ = digests()
    (tmp_path / "cache.json").write_text(text)
    assert digests() == (first, ["a", "b", "c"])
    assert digests() == (first, [])


def test_a_cache_that_cannot_be_written_is_done_without(files, tmp_path, capsys):
    _, digests = files
    (tmp_path / "cache.json").mkdir()
    first, _ = digests()
    assert digests() == (first, ["a", "b", "c"])
    assert "cannot cache the digests of raw files" in capsys.readouterr().err


def test_files_that_are_asked_for_no_more_are_forgotten(files, tmp_path):
    paths, digests = files
    digests()
    paths["d"] = tmp_path / "d"
    paths["d"].write_text("d")
    del paths["a"]
    digests()
    assert {Path(name).name for name in json.loads((tmp_path / "cache.json").read_text())["files"]} == {*"bcd"}


def test_a_folder_is_its_names_and_bytes(tmp_path):
    def folder(name, **files):
        for file, text in files.items():
            path = tmp_path / name / file.replace("_", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return contents_digest(tmp_path / name)

    one = folder("one", a="1", b_c="2")
    time.sleep(0.01)
    assert folder("same", b_c="2", a="1") == one
    assert folder("swapped", a="2", b_c="1") != one
    assert folder("renamed", x="1", b_c="2") != one
    assert folder("more", a="1", b_c="2", d="") != one
    (tmp_path / "one/.snakemake_timestamp").touch()
    assert contents_digest(tmp_path / "one") == one
