"""Raw files that are there when they are listed and gone when they are read."""

import pytest
from sources import preparation, source

from pipeline.core.errors import RawDataError
from pipeline.evaluation import baselines
from pipeline.evaluation.recipes import BaselineRecipe
from pipeline.raw.dataset import open_dataset
from pipeline.shards import write
from pipeline.shards.recipes import ShardRecipe


def vanishing(monkeypatch, module, *files):
    """Let files vanish as soon as the module has listed the raw data."""

    def listed(*arguments, **options):
        raw = open_dataset(*arguments, **options)
        for path in files:
            path.rename(path.with_name(f"{path.name}.away"))
        return raw

    monkeypatch.setattr(module, "open_dataset", listed)


def come_back(monkeypatch, *files):
    monkeypatch.undo()
    for path in files:
        path.with_name(f"{path.name}.away").rename(path)


def test_files_that_vanish_while_a_shard_is_built(tmp_path, drive, monkeypatch):
    files = [drive / "training/images/22_training.tif", drive / "training/1st_manual/24_manual1.gif"]
    output = tmp_path / "out" / "train-0.h5"
    recipe = preparation().to(ShardRecipe, dataset="d", split="train", source=source("drive", drive, test="official"))
    vanishing(monkeypatch, write, *files)
    with pytest.raises(RawDataError, match="2 problems") as caught:
        write.build_shard(recipe, number=0, output=output)
    for path in files:
        assert f"{path}\n    found:    No such file or directory" in str(caught.value)
    assert list(output.parent.iterdir()) == []
    come_back(monkeypatch, *files)
    write.build_shard(recipe, number=0, output=output)
    assert [path.name for path in output.parent.iterdir()] == ["train-0.h5"]


def test_files_that_vanish_while_the_second_observer_is_read(tmp_path, drive, monkeypatch):
    path = drive / "test/2nd_manual/02_manual2.gif"
    output = tmp_path / "out" / "probability"
    vanishing(monkeypatch, baselines, path)
    told = {"dataset": "d", "split": "test", "kind": "second-observer"}
    recipe = BaselineRecipe(**told, source=source("drive", drive, test="official"))
    with pytest.raises(RawDataError, match=r"02_manual2\.gif"):
        baselines.write_baseline(recipe, output=output)
    assert list(output.parent.iterdir()) == []
    come_back(monkeypatch, path)
    baselines.write_baseline(recipe, output=output)
    assert (output / "02.png").exists()
