import os
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from sources import opened

from pipeline.core import digests as digests_module
from pipeline.core.counts import VOID
from pipeline.core.digests import cached_digests, file_digest
from pipeline.core.errors import RawDataError
from pipeline.images.png import write_png
from pipeline.raw import dataset as datasets
from pipeline.raw.splits.foreground import STRATA, foreground_fraction, stratum_of

STRATIFIED = {"rule": "k-fold", "folds": 3, "fold": 0, "seed": 0, "stratify": "foreground"}


@pytest.fixture
def reads(monkeypatch):
    """Identifiers whose masks were read, in order."""
    ids = []
    read = datasets.RawDataset.read_mask

    def counting(self, sample, data=None):
        ids.append(sample.id)
        return read(self, sample, data)

    monkeypatch.setattr(datasets.RawDataset, "read_mask", counting)
    return ids


def test_foreground_fraction_excludes_ignored_pixels():
    mask = np.array([[0, 1, 2, VOID], [0, 0, 0, VOID]], np.uint8)
    assert foreground_fraction(mask, soft=False) == 2 / 6
    assert foreground_fraction(np.full((2, 2), VOID, np.uint8), soft=False) == 0
    assert foreground_fraction(np.array([[255, 51]], np.uint8), soft=True) == pytest.approx(0.6)


def test_empty_masks_are_a_stratum_of_their_own():
    assert [stratum_of(fraction) for fraction in (0.0, 1e-6, 0.01, 0.02, 0.3, 1.0)] == [0, 1, 1, 2, 4, len(STRATA)]


def folds(root, cache, **options):
    tests = [{**STRATIFIED, "fold": fold} for fold in range(3)]
    return [
        {sample.id for sample in opened("t", "tgs", root, options, test=test, cache=cache).splits["test"]}
        for test in tests
    ]


def test_empty_masks_are_spread_evenly_for_png_and_rle(tgs, tmp_path):
    parts = folds(tgs, str(tmp_path / "c" / "x.json"))
    assert [len(part & {"tile000", "tile004", "tile008"}) for part in parts] == [1, 1, 1]
    assert [len(part) for part in parts] == [4, 4, 4]
    assert folds(tgs, None, masks="csv") == parts


def test_masks_are_read_again_only_if_they_changed(tgs, tmp_path, reads):
    cache = tmp_path / "x.json"
    first = folds(tgs, str(cache))
    assert len(reads) == 12
    reads.clear()
    assert folds(tgs, str(cache)) == first
    assert reads == []
    write_png(tgs / "train/masks/tile003.png", np.full((101, 101), 255, np.uint8))
    folds(tgs, str(cache))
    assert reads == ["tile003"]


def swap(first, second):
    """Swap the contents of two files and restore the times of each path."""
    times = [(path.stat().st_atime_ns, path.stat().st_mtime_ns) for path in (first, second)]
    contents = [path.read_bytes() for path in (first, second)]
    for path, data, old in zip((first, second), reversed(contents), times, strict=True):
        path.write_bytes(data)
        os.utime(path, ns=old)


@pytest.mark.parametrize("way", ["written", "moved"])
def test_swapped_masks_with_old_times_are_measured_again(tgs, tmp_path, reads, way):
    cache = tmp_path / "x.json"
    folds(tgs, str(cache))
    reads.clear()
    first, second = (tgs / f"train/masks/tile00{number}.png" for number in (3, 5))
    if way == "written":
        swap(first, second)
    else:  # renamed files keep times, size and inode
        first.rename(tgs / "aside")
        second.rename(first)
        (tgs / "aside").rename(second)
    after = folds(tgs, str(cache))
    assert sorted(reads) == ["tile003", "tile005"]
    assert after == folds(tgs, None)


def digests(tgs, cache, **options):
    paths = sorted(str(path) for path in tgs.rglob("*.png"))
    return cached_digests(paths, cache, "t", **options)


def settle(monkeypatch):
    """Make files appear old."""
    now = time.time_ns()
    monkeypatch.setattr("pipeline.core.digests.time.time_ns", lambda: now + 10**10)


def test_swapped_files_with_old_times_are_digested_again(tgs, tmp_path, monkeypatch):
    cache = tmp_path / "digests.json"
    settle(monkeypatch)
    before = digests(tgs, cache)
    first, second = (str(tgs / f"train/masks/tile00{number}.png") for number in (3, 5))
    opened_files = []
    monkeypatch.setattr(digests_module, "file_digest", lambda path: opened_files.append(path) or file_digest(path))
    assert digests(tgs, cache) == before
    assert opened_files == []
    swap(Path(first), Path(second))
    assert digests(tgs, cache) == {**before, first: before[second], second: before[first]}
    assert sorted(opened_files) == [first, second]
    opened_files.clear()
    assert digests(tgs, cache, again=True)[first] == before[second]
    assert len(opened_files) == len(before)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"format": 2, "meaning": "?", "masks": 3}', b"\xff"])
def test_damaged_cache_of_fractions_is_replaced(tgs, tmp_path, reads, damage):
    cache = tmp_path / "x.json"
    first = folds(tgs, str(cache))
    cache.write_bytes(damage)
    reads.clear()
    assert folds(tgs, str(cache)) == first
    assert len(reads) == 12


def test_cached_values_that_are_not_fractions_are_ignored(tgs, tmp_path):
    cache = tmp_path / "x.json"
    first = folds(tgs, str(cache))
    cache.write_text(cache.read_text().replace(", 0.0]", ", 7]"))
    assert folds(tgs, str(cache)) == first


def test_unwritable_cache_of_fractions_is_ignored(tgs, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert folds(tgs, str(tmp_path / "file" / "x.json")) == folds(tgs, None)
    assert "will be measured again" in capsys.readouterr().err


def test_fractions_of_stack_pages_and_object_masks(tmp_path, reads):
    for name in ("images", "masks"):
        (tmp_path / "stacks" / name).mkdir(parents=True)
        for stack in "ab":
            pages = np.zeros((4, 16, 16), np.uint8)
            pages[:2] = 255
            tifffile.imwrite(tmp_path / f"stacks/{name}/{stack}.tif", pages, photometric="minisblack")
    for name in ("p1/images/i", "p1/masks/1", "p1/masks/2", "p2/images/i", "p2/masks/1", "p3/images/i", "p3/masks/1"):
        (tmp_path / f"objects/{name}.png").parent.mkdir(parents=True, exist_ok=True)
        write_png(tmp_path / f"objects/{name}.png", np.zeros((16, 16), np.uint8))
    cases = {
        "stacks": {"pages": "samples"},
        "objects": {"images": "*/images", "masks": "*/masks", "merge_masks": True},
    }

    def test_samples(name):
        cache = str(tmp_path / f"{name}.json")
        return opened("x", "folder", tmp_path / name, cases[name], test=STRATIFIED, cache=cache).splits["test"]

    for name in cases:
        first, count = test_samples(name), len(reads)
        assert test_samples(name) == first
        assert len(reads) == count, "cached fractions are not measured again"
    reads.clear()
    write_png(tmp_path / "objects/p1/masks/2.png", np.full((16, 16), 255, np.uint8))
    test_samples("objects")
    assert reads == ["p1"]


def test_all_unreadable_masks_are_listed_and_none_cached(tgs, tmp_path):
    for name in ("tile001", "tile005"):
        (tgs / f"train/masks/{name}.png").write_bytes(b"no image")
    with pytest.raises(RawDataError) as caught:
        folds(tgs, str(tmp_path / "x.json"))
    assert len(caught.value.problems) == 2
    assert not (tmp_path / "x.json").exists()


def test_without_strata_no_mask_is_read(tgs, tmp_path, reads):
    plain = {key: value for key, value in STRATIFIED.items() if key != "stratify"}
    opened("t", "tgs", tgs, test=plain, cache=str(tmp_path / "x.json"))
    assert reads == []
    assert not (tmp_path / "x.json").exists()
