"""Layout of TGS salt: seismic tiles, salt masks, depths.

::

    root/train/images/<id>.png      root/train/masks/<id>.png      root/train.csv   (id, rle_mask)
    root/test/images/<id>.png       (unlabelled, may be absent)    root/depths.csv  (id, z; may be absent)

Masks come from the PNG files (8-bit and 16-bit in one folder) or from the run-length codes of ``train.csv``.
The depth of a tile becomes the metadata column ``depth`` (feet, as distributed; NaN where unknown).
"""

import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Literal

from pipeline.core.errors import Problem
from pipeline.raw.decode.labels import BLACK_AND_WHITE, Labels
from pipeline.raw.decode.palette import class_colours
from pipeline.raw.layouts.base import Layout
from pipeline.raw.samples import Sample, by_name, no_images, unpaired
from pipeline.raw.tables import read_columns

CLASSES = ("background", "salt")
TILE = (101, 101)
"""Height and width of every tile: run-length codes do not carry their size."""

_PNG = (".png",)


class Tgs(Layout):
    """TGS salt, or a folder of the same layout."""

    defaults: ClassVar = {
        "normalize": "unit",
        "test": {"rule": "permutation", "fraction": 0.15, "seed": 42},
    }
    challenge: ClassVar = "codes"
    tables: ClassVar = ("depths.csv",)  # train.csv belongs to the samples where it holds their masks
    official: ClassVar = ("test",)
    has_synthetic: ClassVar = True
    marks: ClassVar = ("train/images", "train/masks")

    layout: Literal["tgs"]
    masks: Literal["png", "csv"] = "png"

    def describe(self) -> Labels:
        """Say what the masks mean."""
        return Labels(CLASSES, class_colours(CLASSES), BLACK_AND_WHITE, tile=TILE)

    def find_samples(self, root: Path, problems: list[Problem]) -> list[Sample]:
        """List the samples, with masks from ``train/masks`` or ``train.csv``."""
        folder, table, masks = root / "train" / "images", root / "train.csv", root / "train" / "masks"
        images = by_name(folder, problems, endings=_PNG)
        remedy = "unpack train.zip of the TGS data into train/"
        problems += no_images(images, folder, "the labelled tiles, <id>.png", remedy, found="no PNG images")
        depths = _read_depths(root / "depths.csv", problems)
        files, codes = {}, {}
        if self.masks == "png":
            files = by_name(masks, problems, endings=_PNG)
            problems += unpaired(images, files, masks, folder, instead="use `masks: csv` if you have train.csv")
        else:
            codes = read_columns(table, "id", "rle_mask", problems)
            rows = {name: f"{table}, {name}" for name in codes}
            problems += unpaired(images, rows, table, folder, instead="use `masks: png` if you have train/masks")
        labelled = [
            Sample(
                id=name,
                image=path,
                mask=files.get(name),
                mask_codes=codes.get(name, "") if self.masks == "csv" else None,
                codes_file=str(table) if self.masks == "csv" else None,
                official_split="training",
                metadata=_depth(depths, name),
            )
            for name, path in images.items()
        ]
        unlabelled = [
            Sample(id=name, image=path, official_split="test", metadata=_depth(depths, name))
            for name, path in by_name(root / "test" / "images", problems, endings=_PNG).items()
        ]
        return labelled + unlabelled


def _read_depths(path: Path, problems: list[Problem]) -> dict[str, float] | None:
    if not path.exists():
        return None
    depths: dict[str, float] = {}
    for name, text in read_columns(path, "id", "z", problems).items():
        try:
            depths[name] = float(text)
        except ValueError:
            problems.append(
                Problem(f"{path}, id {name}", f"the depth {text!r}", "a number", "correct it, or remove depths.csv")
            )
    return depths


def _depth(depths: dict[str, float] | None, name: str) -> Mapping[str, float]:
    if depths is None:
        return MappingProxyType({})
    return MappingProxyType({"depth": depths.get(name, math.nan)})
