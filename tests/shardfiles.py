"""Shards for tests, and changes as another program could make them: with a checksum that fits."""

from contextlib import contextmanager
from pathlib import Path

import h5py
from rawfiles import make_tgs
from sources import source

from pipeline.shards.integrity import seal
from pipeline.shards.recipes import ShardRecipe
from pipeline.shards.write import build_shard


def write_tgs_shards(folder):
    """Write train.h5 and validation.h5 of TGS tiles, 48 x 48 as uint8; return the folder."""
    samples = source("tgs", make_tgs(folder / "raw"), validation={"fraction": 0.3})
    settings = {"dataset": "d", "size": [48, 48], "normalize": "unit", "storage": "uint8", "source": samples}
    for split in ("train", "validation"):
        recipe = ShardRecipe.model_validate({**settings, "split": split})
        build_shard(recipe, number=0, output=folder / f"{split}.h5")
    return folder


def reseal(path):
    """Write the checksum of the current contents of a shard into it."""
    with Path(path).open("rb+") as file:
        seal(file)


@contextmanager
def edited(path):
    """Open a shard for changes, and write its checksum afterwards."""
    with h5py.File(path, "r+") as file:
        yield file
    reseal(path)
