"""Manifests: which one lists a file, and which problems they detect."""

import os
from pathlib import Path

import pytest

from pipeline.core.files import atomic_file
from pipeline.core.fingerprint import Fingerprint
from pipeline.core.manifest import Manifest, find, find_edited, manifest_path, problem, remake_remedy

MADE_BY = Fingerprint("evaluate", {"dataset": "d"}, {"m": "0"}, {"numpy": "2.4"}, {"raw files": "1"}, {"x": ["2"]})


@pytest.fixture
def scores(tmp_path):
    """Return the folder of a result with a table, a folder and a manifest."""
    (tmp_path / "panel").mkdir()
    (tmp_path / "panel/01.png").write_bytes(b"image")
    (tmp_path / "summary.csv").write_text("f1\n0.5\n")
    outputs = [tmp_path / "summary.csv", tmp_path / "panel"]
    Manifest.describe(MADE_BY, outputs).write(outputs[0])
    return tmp_path


def test_a_written_manifest_can_be_read(scores):
    manifest = Manifest.read(scores / "summary.csv")
    assert manifest.fingerprint == MADE_BY
    assert manifest.identity == MADE_BY.identity
    assert manifest_path(scores / "summary.csv").name == "summary.csv.manifest.json"


def test_a_manifest_covers_exactly_the_files_of_its_job(scores):
    (scores / "curves.png").write_bytes(b"")
    assert find(scores / "panel") == find(scores / "summary.csv") == Manifest.read(scores / "summary.csv")
    assert find(scores / "curves.png") is None
    assert find(scores / "gone") is None
    assert find(Path("nowhere/x")) is None


def test_unchanged_results_are_no_problem(scores):
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
def test_edits_are_detected_whatever_their_modification_time(scores, path, change):
    path, status = scores / path, (scores / "summary.csv").stat()
    change(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    detected = problem(path, MADE_BY.identity)
    assert detected.found == "edited after the pipeline wrote it"
    assert f"rm -r {path}" in detected.remedy


def test_another_identity_is_a_problem(scores):
    detected = problem(scores / "summary.csv", "0" * 32)
    assert detected.found == "a result of other settings, code, raw files or inputs"
    assert f"python -m pipeline explain {scores / 'summary.csv'}" in detected.remedy


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": 1, "identity": "0", "contents": {}}'])
def test_invalid_manifests_are_ignored(scores, text):
    manifest_path(scores / "summary.csv").write_text(text)
    assert problem(scores / "panel", MADE_BY.identity).found == "no manifest"
    with pytest.raises(ValueError, match=r"."):
        Manifest.read(scores / "summary.csv")


def test_an_edited_shard_is_a_problem(tmp_path):
    shard = tmp_path / "train-0.h5"
    shard.write_bytes(b"samples")
    Manifest.describe(MADE_BY, [shard]).write(shard)
    assert problem(shard, MADE_BY.identity) is None
    shard.write_bytes(b"others.")
    assert problem(shard, MADE_BY.identity).found == "edited after the pipeline wrote it"


def test_manifests_of_replaced_files_are_removed(scores):
    (scores / "curves.png").write_bytes(b"")
    Manifest.describe(MADE_BY, [scores / "curves.png"]).write(scores / "curves.png")
    (scores / "legend.png").write_bytes(b"")
    rendering = Fingerprint("render", {}, {}, {})
    Manifest.describe(rendering, [scores / "legend.png", scores / "panel"]).write(scores / "legend.png")
    assert find(scores / "panel").fingerprint == rendering
    assert find(scores / "summary.csv") is None
    assert find(scores / "curves.png").fingerprint == MADE_BY


def test_the_manifest_that_another_process_is_writing_is_kept(scores):
    path = scores / "summary.csv.manifest.json"
    contents = path.read_bytes()
    with atomic_file(path) as temporary:
        temporary.write_bytes(contents)
        Manifest.describe(MADE_BY, [scores / "summary.csv"]).write(scores / "summary.csv")
        assert temporary.exists()


def test_edited_files_with_a_manifest_are_reported(scores):
    table = scores / "summary.csv"
    (scores / "curves.csv").write_text("no manifest lists it")
    assert find_edited([table, scores / "curves.csv", scores / "gone.csv"]) == []
    table.write_text("f1\n0.99\n")
    (detected,) = find_edited([table, scores / "curves.csv"])
    assert (detected.where, detected.found) == (str(table), "edited after the pipeline wrote it")


def test_only_files_with_a_manifest_are_to_be_deleted(scores):
    (scores / "own.csv").write_text("f1\n0.5\n")
    assert remake_remedy(scores / "own.csv", "correct it") == "correct it"
    assert remake_remedy(scores / "missing/01.png", "add it") == "add it"
    assert (
        remake_remedy(scores / "summary.csv", "correct it", "snakemake metrics")
        == "delete it and run `snakemake metrics`"
    )
    assert remake_remedy(scores / "panel/01.png", "add it") == f"delete {scores / 'panel'} and run `snakemake`"
    (scores / "summary.csv.manifest.json").unlink()
    assert "delete" not in problem(scores / "summary.csv", MADE_BY.identity).remedy
    assert "rm" not in problem(scores / "summary.csv", MADE_BY.identity).remedy
