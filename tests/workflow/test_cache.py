"""A second checkout takes shards and checkpoints out of Snakemake's cache, and never wrong ones."""

import pytest
from projects import CONFIG, Project
from rawfiles import make_drive, make_tgs

pytestmark = pytest.mark.slow

CACHED = ("results/shards/", "results/models/a/best.pt", "results/models/a/last.pt", "results/models/a/history.csv")


def project(folder):
    make_drive(folder / "raw" / "DRIVE")
    make_tgs(folder / "raw" / "TGS")
    made = Project(folder)
    made.config.write_text(CONFIG)
    return made


def test_a_second_folder_computes_no_shard_and_no_network(tmp_path):
    (cache := tmp_path / "cache").mkdir()
    first, second, alone = (project(tmp_path / name) for name in ("first", "second", "alone"))
    for one in (first, second):
        one.snakemake("--cache", "--", "models", SNAKEMAKE_OUTPUT_CACHE=str(cache))
        assert one.planned("models") == {}
    alone.snakemake("models")
    # Snakemake makes an empty log for what it takes out of the cache
    said = {path.parent.name for path in (second.folder / "results/logs").rglob("*.log") if path.stat().st_size}
    assert said <= {"augmented", "curves"}
    assert [path.stat().st_size for path in (second.folder / "results/logs/train").iterdir()] == [0, 0]
    assert all(path.stat().st_size for path in (first.folder / "results/logs/train").iterdir())
    names = sorted(name for name in first.files() if name.startswith(CACHED))
    assert len(names) > 6
    for name in names:
        assert (second.folder / name).samefile(first.folder / name)
        assert (alone.folder / name).read_bytes() == (first.folder / name).read_bytes()

    # a link gives way to a file of its own, and the cache keeps what it had
    old = (cache / (second.folder / "results/shards/d/train-0.h5").readlink().name).read_bytes()
    second.snakemake("--forcerun", "shard", "--", "models")
    assert not (second.folder / "results/shards/d/train-0.h5").is_symlink()
    assert (first.folder / "results/shards/d/train-0.h5").read_bytes() == old


def test_names_that_the_cache_does_not_see_still_count(tmp_path):
    (cache := tmp_path / "cache").mkdir()
    first, renamed = (project(tmp_path / name) for name in ("first", "renamed"))
    # the same contents, but two pictures have changed places; and another name for the data set
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
    for one in (first, renamed):
        one.snakemake("--cache", "--", "shards", SNAKEMAKE_OUTPUT_CACHE=str(cache))
    alone.snakemake("shards")
    for name in sorted(name for name in alone.files() if name.endswith(".h5")):
        assert (renamed.folder / name).read_bytes() == (alone.folder / name).read_bytes(), name
