"""The store of shards and checkpoints: keeping, restoring and pruning entries."""

import errno
import os
import shutil

import pytest

from pipeline.core.errors import OutputError
from pipeline.core.files import partial_name
from pipeline.core.fingerprint import Fingerprint
from pipeline.core.manifest import Manifest, manifest_path
from pipeline.graph import store as stores
from pipeline.graph.store import Store

KILOBYTE = 1e-6
"""In gigabytes."""


def fingerprint(number=0):
    return Fingerprint("train", {"number": number}, {"pipeline.training.run": "0"}, {"torch": "2.0"})


def made(folder, number=0, size=600):
    """A result of two files, and its manifest beside the first."""
    outputs = [folder / "best.pt", folder / "history.csv"]
    folder.mkdir(parents=True, exist_ok=True)
    for path in outputs:
        path.write_bytes(f"{path.name} of {number}: ".encode().ljust(size // 2, b"."))
    manifest = Manifest.describe(fingerprint(number), outputs)
    manifest.write(outputs[0])
    return manifest, outputs


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def names(store):
    return {entry.path.name for entry in store.entries()}


@pytest.fixture(autouse=True)
def nothing_is_small(monkeypatch):
    monkeypatch.setattr(stores, "_LINK_BYTES", 0)


@pytest.fixture
def store(tmp_path):
    return Store(1, tmp_path / "store")


@pytest.fixture
def apart(monkeypatch):
    """A store on another file system than the results."""

    def refused(*_, **__):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refused)


@pytest.mark.parametrize("way", ["linked", "copied"])
def test_entry_is_restored_with_its_manifest(store, tmp_path, capsys, request, way):
    if way == "copied":
        request.getfixturevalue("apart")
    manifest, outputs = made(tmp_path / "models/e")
    before = contents(tmp_path / "models/e")
    store.keep(manifest, outputs)
    assert contents(store.folder / manifest.identity) == before
    shutil.rmtree(tmp_path / "models")
    assert store.restore(manifest.identity, outputs)
    assert "restored from" in capsys.readouterr().err
    assert contents(tmp_path / "models/e") == before
    assert Manifest.read(outputs[0]) == manifest
    assert not [path for path in store.folder.rglob("*") if ".partial" in path.name]


def test_small_files_are_copied_not_linked(store, tmp_path, monkeypatch):
    monkeypatch.setattr(stores, "_LINK_BYTES", 400)
    manifest, outputs = made(tmp_path / "models/e", size=800)
    outputs[1].write_bytes(b"a table")
    manifest = Manifest.describe(fingerprint(), outputs)
    store.keep(manifest, outputs)
    assert [path.stat().st_nlink for path in outputs] == [2, 1]
    with outputs[1].open("r+b") as file:
        file.write(b"an edit")
    assert store.restore(manifest.identity, outputs)
    assert outputs[1].read_bytes() == b"a table"


def test_result_of_another_project_keeps_its_time(store, tmp_path):
    manifest, outputs = made(tmp_path / "one/models/e")
    store.keep(manifest, outputs)
    for path in outputs:
        os.utime(path, (100, 100))
    others = [tmp_path / "other" / path.name for path in outputs]
    assert store.restore(manifest.identity, others)
    assert [path.read_bytes() for path in others] == [path.read_bytes() for path in outputs]
    assert not any(path.samefile(other) for path, other in zip(outputs, others, strict=True))
    assert [path.stat().st_mtime for path in outputs] == [100, 100]


def test_linked_entry_takes_no_space(store, tmp_path):
    manifest, outputs = made(tmp_path / "models/e")
    store.keep(manifest, outputs)
    assert [path.stat().st_nlink for path in outputs] == [2, 2]
    assert [entry.freed_bytes for entry in store.entries()] == [0]
    outputs[0].unlink()
    assert [entry.freed_bytes for entry in store.entries()] == [0]
    outputs[1].unlink()
    assert [entry.freed_bytes for entry in store.entries()] == [600]


def test_copied_entry_takes_space(store, tmp_path, apart):
    manifest, outputs = made(tmp_path / "models/e")
    store.keep(manifest, outputs)
    assert [entry.freed_bytes for entry in store.entries()] == [600]
    outputs[0].write_bytes(b"edited")
    shutil.rmtree(tmp_path / "models")
    assert store.restore(manifest.identity, outputs)
    assert not Manifest.read(outputs[0]).is_edited(outputs[0])


def test_restored_files_are_newer_than_their_inputs(store, tmp_path):
    manifest, outputs = made(tmp_path / "models/e")
    store.keep(manifest, outputs)
    shutil.rmtree(tmp_path / "models")
    for path in (store.folder / manifest.identity).iterdir():
        os.utime(path, (100, 100))
    (tmp_path / "train-0.h5").touch()
    assert store.restore(manifest.identity, outputs)
    shard = (tmp_path / "train-0.h5").stat().st_mtime_ns
    assert all(path.stat().st_mtime_ns >= shard for path in (*outputs, manifest_path(outputs[0])))


def test_existing_result_is_replaced(store, tmp_path):
    manifest, outputs = made(tmp_path / "models/e")
    store.keep(manifest, outputs)
    made(tmp_path / "models/other", 1)
    shutil.rmtree(tmp_path / "models/e")
    shutil.move(tmp_path / "models/other", tmp_path / "models/e")
    assert store.restore(manifest.identity, outputs)
    assert Manifest.read(outputs[0]) == manifest
    assert not any(manifest.is_edited(path) for path in outputs)


def test_unknown_identity_is_not_restored(store, tmp_path):
    _, outputs = made(tmp_path / "models/e")
    before = contents(tmp_path / "models/e")
    assert not store.restore(fingerprint().identity, outputs)
    assert not store.restore(fingerprint(1).identity, outputs)
    assert contents(tmp_path / "models/e") == before
    assert not list(store.entries())


def edit_result(entry):
    """A tool edits the result in place; the entry is the same file."""
    with (entry / "best.pt").open("r+b") as file:
        file.write(b"BEST")


def lose_a_file(entry):
    (entry / "history.csv").unlink()


def cut_manifest(entry):
    path = manifest_path(entry / "best.pt")
    path.write_bytes(path.read_bytes()[:-20])


def put_another(entry):
    """A valid entry under the name of another, as after renaming by hand."""
    manifest, outputs = made(entry.parent / "other", 7)
    Store(1, entry.parent).keep(manifest, outputs)
    shutil.rmtree(entry)
    (entry.parent / manifest.identity).rename(entry)


def forget_a_file(entry):
    """An entry of a version whose result had fewer files."""
    Manifest.describe(fingerprint(), [entry / "best.pt"]).write(entry / "best.pt")


@pytest.mark.parametrize("damage", [edit_result, lose_a_file, cut_manifest, put_another, forget_a_file])
def test_damaged_entry_is_removed(store, tmp_path, capsys, damage):
    manifest, outputs = made(tmp_path / "models/e")
    store.keep(manifest, outputs)
    entry = store.folder / manifest.identity
    damage(entry)
    shutil.rmtree(tmp_path / "models")
    capsys.readouterr()
    assert not store.restore(manifest.identity, outputs)
    assert f"{entry}: damaged; removed" in capsys.readouterr().err
    assert not entry.exists()
    assert not (tmp_path / "models").exists()
    made(tmp_path / "models/e")
    store.keep(manifest, outputs)
    assert store.restore(manifest.identity, outputs)


def test_entry_without_manifest_is_ignored(store, tmp_path):
    manifest, outputs = made(tmp_path / "models/e")
    store.keep(manifest, outputs)
    manifest_path(store.folder / manifest.identity / "best.pt").unlink()
    assert not store.restore(manifest.identity, outputs)


def kept(store, tmp_path, number, size=600, at=None):
    """Keep a result with a given time of last use in seconds, remove it, and return the name of its entry."""
    manifest, outputs = made(tmp_path / f"models/{number}", number, size)
    store.keep(manifest, outputs)
    shutil.rmtree(tmp_path / f"models/{number}")
    for path in (store.folder / manifest.identity).iterdir():
        os.utime(path, (at or number, at or number))
    return manifest.identity


def test_least_recently_used_entries_are_pruned_first(tmp_path):
    store = Store(2 * KILOBYTE, tmp_path / "store")
    first, second, third = (kept(store, tmp_path, number) for number in (1, 2, 3))
    assert names(store) == {first, second, third}, "1800 bytes"
    fourth = kept(store, tmp_path, 4)
    store.prune()
    assert names(store) == {second, third, fourth}


@pytest.mark.parametrize("way", ["linked", "copied"])
def test_restored_entry_counts_as_used(tmp_path, request, way):
    store = Store(2 * KILOBYTE, tmp_path / "store")
    if way == "copied":
        request.getfixturevalue("apart")
    first, second, _ = (kept(store, tmp_path, number) for number in (1, 2, 3))
    outputs = [tmp_path / "models/1" / name for name in ("best.pt", "history.csv")]
    assert store.restore(first, outputs)
    shutil.rmtree(tmp_path / "models/1")
    kept(store, tmp_path, 4)
    store.prune()
    assert first in names(store)
    assert second not in names(store)


def test_large_entry_is_pruned_before_older_small_ones(tmp_path):
    store = Store(2 * KILOBYTE, tmp_path / "store")
    small = kept(store, tmp_path, 1)
    large = kept(store, tmp_path, 2, size=3000)
    store.prune()
    assert names(store) == {small} != {large}


def test_linked_entry_is_not_pruned(tmp_path):
    store = Store(1 * KILOBYTE, tmp_path / "store")
    manifest, outputs = made(tmp_path / "models/used", 0, size=5000)
    store.keep(manifest, outputs)
    for path in outputs:
        os.utime(path, (1, 1))  # least recently used
    last = kept(store, tmp_path, 5)
    store.prune()
    assert names(store) == {manifest.identity, last}
    shutil.rmtree(tmp_path / "models")
    store.prune()
    assert names(store) == {last}


def test_limit_of_zero_disables_the_store(store, tmp_path):
    manifest, outputs = made(tmp_path / "models/e")
    none = Store(0, store.folder)
    none.keep(manifest, outputs)
    assert not store.folder.exists()
    store.keep(manifest, outputs)
    assert not none.restore(manifest.identity, outputs)
    assert names(store) == {manifest.identity}, "what another configuration keeps there stays"


def test_failure_to_store_is_logged(store, tmp_path, capsys):
    manifest, outputs = made(tmp_path / "models/e")
    before = contents(tmp_path / "models/e")
    store.folder.write_text("in the way")
    Store(1, store.folder / "deeper").keep(manifest, outputs)
    assert f"{outputs[0]}: not kept in the store" in capsys.readouterr().err
    assert contents(tmp_path / "models/e") == before


def test_full_disk_leaves_no_partial_entry(store, tmp_path, monkeypatch, capsys, apart):
    manifest, outputs = made(tmp_path / "models/e")

    def full(source, target):
        target.write_bytes(source.read_bytes()[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(stores.shutil, "copyfile", full)
        store.keep(manifest, outputs)
    assert "not kept in the store" in capsys.readouterr().err
    assert list(store.folder.iterdir()) == []
    store.keep(manifest, outputs)
    shutil.rmtree(tmp_path / "models")
    with monkeypatch.context() as patched:
        patched.setattr(stores.shutil, "copyfile", full)
        with pytest.raises(OutputError, match="No space left"):
            store.restore(manifest.identity, outputs)
    assert not [path for path in (tmp_path / "models").rglob("*") if path.is_file()]
    assert names(store) == {manifest.identity}


def test_projects_share_a_store(store, tmp_path):
    (tmp_path / "shared").mkdir()
    store.folder.symlink_to(tmp_path / "shared")
    manifest, outputs = made(tmp_path / "one/models/e")
    store.keep(manifest, outputs)
    there = [tmp_path / "two/models/e" / path.name for path in outputs]
    assert Store(1, tmp_path / "shared").restore(manifest.identity, there)
    assert contents(tmp_path / "two/models/e") == contents(tmp_path / "one/models/e")


def test_partial_and_foreign_files_are_no_entries(store, tmp_path):
    manifest, outputs = made(tmp_path / "models/e")
    store.keep(manifest, outputs)
    (store.folder / "notes.txt").write_text("mine")
    made(store.folder / partial_name("0" * 32))
    assert names(store) == {manifest.identity}
    (store.folder / ("0" * 32)).mkdir()
    empty = next(entry for entry in store.entries() if entry.path.name == "0" * 32)
    assert (empty.freed_bytes, empty.last_used_ns) == (0, 0)


def test_entry_removed_by_another_job_is_not_restored(store, tmp_path, monkeypatch):
    manifest, outputs = made(tmp_path / "models/e")
    store.keep(manifest, outputs)
    shutil.rmtree(tmp_path / "models")
    put = stores._put

    def removed(source, path):
        shutil.rmtree(source.parent, ignore_errors=True)
        put(source, path)

    monkeypatch.setattr(stores, "_put", removed)
    assert not store.restore(manifest.identity, outputs)
