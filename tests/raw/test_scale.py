"""Number of file system calls and hashes when many files are listed; counts, because time depends on the machine."""

import builtins
import os

import pytest
from sources import opened

from pipeline.raw.splits import sampling

FOLDERS = {
    "tgs": ("train/images", "train/masks"),
    "folder": ("images", "masks"),
    "duts": ("DUTS-TR/DUTS-TR-Image", "DUTS-TR/DUTS-TR-Mask"),
}


@pytest.mark.parametrize("layout", FOLDERS)
def test_listing_reads_folders_not_files_and_hashes_rarely(tmp_path, monkeypatch, layout):
    pairs = 3000
    for folder in FOLDERS[layout]:
        (tmp_path / folder).mkdir(parents=True)
        for number in range(pairs):
            os.close(os.open(tmp_path / folder / f"p{number:05d}.png", os.O_CREAT))
    calls = dict.fromkeys(("stat", "listdir", "scandir", "open", "hash"), 0)

    def count(module, name, kind):
        original = getattr(module, name)

        def counting(*args, **kwargs):
            calls[kind] += 1
            return original(*args, **kwargs)

        monkeypatch.setattr(module, name, counting)

    for name in ("stat", "listdir", "scandir"):
        count(os, name, name)
    count(builtins, "open", "open")
    count(sampling, "stable_hash", "hash")
    split = {"rule": "fraction", "fraction": 0.1, "seed": 0}
    raw = opened("x", layout, tmp_path, shards=6, test=split, validation=split)
    for _ in range(10):  # a rule lists the members once for each shard
        members = raw.shard_members("train")
    assert sum(map(len, members.values())) == round(round(pairs * 0.9) * 0.9)
    assert calls.pop("hash") <= 3 * pairs
    assert sum(calls.values()) < 100, calls
