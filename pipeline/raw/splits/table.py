"""The table of splits: split and shard of each sample, for people."""

from pathlib import Path

import pandas as pd

from pipeline.core.tables import write_table
from pipeline.raw.dataset import open_dataset
from pipeline.raw.recipes import SplitsRecipe
from pipeline.raw.splits.names import SPLITS


def write_splits(recipe: SplitsRecipe, *, output: Path) -> None:
    """Write one row for each sample: id, split, shard, image, mask, reason.

    Excluded samples have the split ``excluded``, no shard, and the reason.

    Parameters
    ----------
    output : Path
        CSV file.
    """
    raw = open_dataset(recipe.dataset, recipe.source)
    rows = [
        {
            "id": sample.id,
            "split": split,
            "shard": shard,
            "image": sample.image,
            "mask": sample.mask or sample.codes_file or "",
        }
        for split in SPLITS
        for shard, members in raw.shard_members(split).items()
        for sample in members
    ]
    rows += [
        {
            "id": item.id,
            "split": "excluded",
            "image": item.sample.image if item.sample else "",
            "mask": (item.sample.mask or item.sample.codes_file or "") if item.sample else "",
            "reason": item.reason,
        }
        for item in raw.excluded
    ]
    table = pd.DataFrame(rows, columns=["id", "split", "shard", "image", "mask", "reason"])
    table["shard"] = table["shard"].astype("Int64")
    write_table(output, table.sort_values("id", kind="stable"))
