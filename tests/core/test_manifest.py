"""Manifests: which of them speaks of a file, and what they refuse."""

import os
from pathlib import Path

import pytest

from pipeline.core.fingerprint import Fingerprint
from pipeline.core.manifest import Manifest, edited, find, manifest_path, problem

MADE_BY = Fingerprint("evaluate", {"dataset": "d"}, {"m": "0"}, {"numpy": "2.4"}, {"raw files": "1"}, {"x": ["2"]})


@pytest.fixture
def scores(tmp_path):
    """A result of a table and a folder, with its manifest."""
    (tmp_path / "panel").mkdir()
    (tmp_path / "panel/01.png").write_bytes(b"image")
    (tmp_path / "summary.csv").write_text("f1\n0.5\n")
    outputs = [tmp_path / "summary.csv", tmp_path / "panel"]
    Manifest.describe(MADE_BY, outputs).write(outputs[0])
    return tmp_path


def test_what_is_written_is_read_again(scores):
    manifest = Manifest.read(scores / "summary.csv")
    assert manifest.fingerprint == MADE_BY
    assert manifest.identity == MADE_BY.identity
    assert manifest_path(scores / "summary.csv").name == "summary.csv.manifest.json"


def test_a_manifest_speaks_of_all_files_of_its_job_and_of_no_other(scores):
    (scores / "curves.png").write_bytes(b"")
    assert find(scores / "panel") == find(scores / "summary.csv") == Manifest.read(scores / "summary.csv")
    assert find(scores / "curves.png") is None
    assert find(scores / "gone") is None
    assert find(Path("nowhere/x")) is None


def test_what_is_as_it_was_made_is_no_problem(scores):
    for name in ("summary.csv", "panel"):
        assert problem(scores / name, MADE_BY.identity) is None


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("summary.csv", lambda path: path.write_text("f1\n0.9\n")),
        ("panel", lambda path: (path / "01.png").write_bytes(b"another")),
        ("panel", lambda path: (path / "01.png").rename(path / "02.png")),
        ("panel", lambda path: (path / "02.png").write_bytes(b"")),
    ],
)
def test_edited_bytes_are_a_problem_whatever_their_time(scores, path, change):
    path, before = scores / path, (scores / "summary.csv").stat()
    change(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    found = problem(path, MADE_BY.identity)
    assert found.found == "changed since it was made"
    assert f"rm -r {path}" in found.remedy


def test_another_identity_is_a_problem(scores):
    found = problem(scores / "summary.csv", "0" * 32)
    assert found.found == "a result of other settings, code, raw files or inputs"
    assert f"python -m pipeline explain {scores / 'summary.csv'}" in found.remedy


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": 1, "identity": "0", "contents": {}}'])
def test_what_is_no_manifest_says_nothing(scores, text):
    manifest_path(scores / "summary.csv").write_text(text)
    assert problem(scores / "panel", MADE_BY.identity).found == "no manifest"
    with pytest.raises(ValueError, match=r"."):
        Manifest.read(scores / "summary.csv")


def test_a_shard_of_another_origin_is_a_problem_too(tmp_path):
    shard = tmp_path / "train-0.h5"
    shard.write_bytes(b"samples")
    Manifest.describe(MADE_BY, [shard]).write(shard)
    assert problem(shard, MADE_BY.identity) is None
    shard.write_bytes(b"others.")
    assert problem(shard, MADE_BY.identity).found == "changed since it was made"


def test_a_manifest_of_what_stood_here_before_speaks_no_more(scores):
    (scores / "curves.png").write_bytes(b"")
    Manifest.describe(MADE_BY, [scores / "curves.png"]).write(scores / "curves.png")
    (scores / "legend.png").write_bytes(b"")
    after = Fingerprint("render", {}, {}, {})
    Manifest.describe(after, [scores / "legend.png", scores / "panel"]).write(scores / "legend.png")
    assert find(scores / "panel").fingerprint == after
    assert find(scores / "summary.csv") is None
    assert find(scores / "curves.png").fingerprint == MADE_BY


def test_edited_files_are_named_where_that_is_known(scores):
    table = scores / "summary.csv"
    (scores / "curves.csv").write_text("no manifest speaks of it")
    assert edited([table, scores / "curves.csv", scores / "gone.csv"]) == []
    table.write_text("f1\n0.99\n")
    (found,) = edited([table, scores / "curves.csv"])
    assert (found.where, found.found) == (str(table), "changed since it was made")
