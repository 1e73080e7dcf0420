"""Raw files that are there when they are listed and gone when they are read."""

import pytest

from pipeline.core.errors import RawDataError
from pipeline.evaluation import baselines
from pipeline.raw.dataset import open_dataset
from pipeline.shards import write

SOURCE = {"layout": "drive", "test": {"method": "official"}}


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
    settings = {
        "source": {**SOURCE, "root": str(drive), "shards": 1},
        "size": [48, 40],
        "channels": "rgb",
        "interpolation": "area",
        "normalize": {"method": "minmax"},
        "storage": "float16",
    }
    vanishing(monkeypatch, write, *files)
    with pytest.raises(RawDataError, match="2 problems") as caught:
        write.build_shard(dataset="d", split="train", shard=0, output=output, **settings)
    for path in files:
        assert f"{path}\n    found:    No such file or directory" in str(caught.value)
    assert list(output.parent.iterdir()) == []
    come_back(monkeypatch, *files)
    write.build_shard(dataset="d", split="train", shard=0, output=output, **settings)
    assert [path.name for path in output.parent.iterdir()] == ["train-0.h5"]


def test_files_that_vanish_while_the_second_observer_is_read(tmp_path, drive, monkeypatch):
    path = drive / "test/2nd_manual/02_manual2.gif"
    output = tmp_path / "out" / "probability"
    vanishing(monkeypatch, baselines, path)
    settings = {"kind": "second-observer", "source": {**SOURCE, "root": str(drive)}}
    with pytest.raises(RawDataError, match=r"02_manual2\.gif"):
        baselines.write_baseline(dataset="d", split="test", output=output, **settings)
    assert list(output.parent.iterdir()) == []
    come_back(monkeypatch, path)
    baselines.write_baseline(dataset="d", split="test", output=output, **settings)
    assert (output / "02.png").exists()
