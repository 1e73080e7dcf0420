"""Projects that share a store compute no shard and no network twice, and never get those of other data."""

import pytest
from projects import CONFIG, Project
from rawfiles import make_drive, make_tgs

pytestmark = pytest.mark.slow

KEPT = ("results/shards/", "results/models/a/best.pt", "results/models/a/last.pt", "results/models/a/history.csv")


def project(folder, store=None):
    make_drive(folder / "raw" / "DRIVE")
    make_tgs(folder / "raw" / "TGS")
    made = Project(folder)
    made.config.write_text(CONFIG)
    if store is not None:
        store.mkdir(exist_ok=True)
        (folder / "results").mkdir()
        (folder / "results/store").symlink_to(store)
    return made


def test_second_project_reuses_shards_and_networks(tmp_path):
    store = tmp_path / "store"
    first, second, alone = (project(tmp_path / name, store) for name in ("first", "second", "alone"))
    alone.edit("datasets:", "store_gb: 0\ndatasets:")
    alone.snakemake("models")
    assert list(store.iterdir()) == []
    for one in (first, second):
        one.snakemake("models")
        assert one.planned("models") == {}
    for path in (second.folder / "results/logs/shard").rglob("*.log"):
        assert "restored from results/store/" in path.read_text()
    assert "epoch" not in (second.folder / "results/logs/train/a.log").read_text()
    assert "epoch" in (first.folder / "results/logs/train/a.log").read_text()
    names = sorted(name for name in first.files() if name.startswith(KEPT) and not name.endswith(".json"))
    assert len(names) > 6
    for name in names:
        assert (second.folder / name).read_bytes() == (first.folder / name).read_bytes()
        assert (alone.folder / name).read_bytes() == (first.folder / name).read_bytes()

    # a rebuilt shard is a new file; other projects keep the old one
    old = (first.folder / "results/shards/d/train-0.h5").read_bytes()
    second.edit("size: [48, 40]", "size: [32, 40]")
    second.snakemake("shards")
    assert (second.folder / "results/shards/d/train-0.h5").read_bytes() != old
    assert (first.folder / "results/shards/d/train-0.h5").read_bytes() == old


def test_data_set_names_are_part_of_the_identity(tmp_path):
    store = tmp_path / "store"
    first, renamed = (project(tmp_path / name, store) for name in ("first", "renamed"))
    # the same contents, but two images are swapped, and the data set has another name
    images = renamed.folder / "raw/DRIVE/test/images"
    (images / "01_test.tif").rename(images / "x")
    (images / "02_test.tif").rename(images / "01_test.tif")
    (images / "x").rename(images / "02_test.tif")
    renamed.edit("  t: {layout: tgs", "  u: {layout: tgs")
    renamed.edit("dataset: t", "dataset: u")
    alone = project(tmp_path / "alone")
    for name in ("01_test.tif", "02_test.tif"):
        (alone.folder / "raw/DRIVE/test/images" / name).write_bytes((images / name).read_bytes())
    alone.config.write_text(renamed.config.read_text())
    for one in (first, renamed, alone):
        one.snakemake("shards")
    for name in sorted(name for name in alone.files() if name.endswith(".h5")):
        assert (renamed.folder / name).read_bytes() == (alone.folder / name).read_bytes(), name


def test_damaged_entry_is_rebuilt(tmp_path):
    one = project(tmp_path / "one")
    one.snakemake("results/shards/d/train-0.h5")
    shard = one.folder / "results/shards/d/train-0.h5"
    whole = shard.read_bytes()
    (kept,) = (one.folder / "results/store").glob("*/train-0.h5")
    with kept.open("r+b") as file:  # also the shard itself: both names are the same file
        file.seek(len(whole) // 2)
        file.write(b"damage")
    shard.unlink()
    one.snakemake("results/shards/d/train-0.h5")
    assert shard.read_bytes() == whole
    assert "damaged; removed" in (one.folder / "results/logs/shard/d/train-0.log").read_text()
