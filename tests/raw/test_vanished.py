"""Raw files that vanish between listing and reading."""

import pytest
from sources import preparation, source

from pipeline.core.errors import RawDataError
from pipeline.evaluation import baselines
from pipeline.evaluation.recipes import BaselineRecipe
from pipeline.raw.dataset import open_dataset
from pipeline.shards import write
from pipeline.shards.recipes import ShardRecipe


def move_after_listing(monkeypatch, module, *files):
    """Move files away as soon as the module has listed the raw data."""

    def listed(*arguments, **options):
        raw = open_dataset(*arguments, **options)
        for path in files:
            path.rename(path.with_name(f"{path.name}.away"))
        return raw

    monkeypatch.setattr(module, "open_dataset", listed)


def restore(monkeypatch, *files):
    monkeypatch.undo()
    for path in files:
        path.with_name(f"{path.name}.away").rename(path)


def test_files_that_vanish_while_a_shard_is_built(tmp_path, drive, monkeypatch):
    files = [drive / "training/images/22_training.tif", drive / "training/1st_manual/24_manual1.gif"]
    output = tmp_path / "out" / "train-0.h5"
    recipe = preparation().to(ShardRecipe, dataset="d", split="train", source=source("drive", drive, test="official"))
    move_after_listing(monkeypatch, write, *files)
    with pytest.raises(RawDataError, match="2 problems") as caught:
        write.build_shard(recipe, number=0, output=output)
    for path in files:
        assert f"{path}\n    found:    No such file or directory" in str(caught.value)
    assert list(output.parent.iterdir()) == []
    restore(monkeypatch, *files)
    write.build_shard(recipe, number=0, output=output)
    assert [path.name for path in output.parent.iterdir()] == ["train-0.h5"]


def test_file_that_vanishes_while_observer_masks_are_read(tmp_path, drive, monkeypatch):
    path = drive / "test/2nd_manual/02_manual2.gif"
    output = tmp_path / "out" / "probability"
    move_after_listing(monkeypatch, baselines, path)
    options = {"dataset": "d", "split": "test", "kind": "second-observer"}
    recipe = BaselineRecipe(**options, source=source("drive", drive, test="official"))
    with pytest.raises(RawDataError, match=r"02_manual2\.gif"):
        baselines.write_baseline(recipe, output=output)
    assert list(output.parent.iterdir()) == []
    restore(monkeypatch, path)
    baselines.write_baseline(recipe, output=output)
    assert (output / "02.png").exists()
