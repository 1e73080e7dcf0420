"""Layout of TGS salt: seismic tiles, salt masks, depths.

::

    root/train/images/<id>.png      root/train/masks/<id>.png      root/train.csv   (id, rle_mask)
    root/test/images/<id>.png       (unlabelled, optional)         root/depths.csv  (id, z; optional)

Masks are read from PNG files (8-bit and 16-bit in one folder) or from the run-length codes of ``train.csv``.
The depth of a tile becomes the metadata column ``depth`` (feet, as distributed; NaN if unknown).
"""

import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Literal

from pydantic import Field

from pipeline.core.errors import Problem
from pipeline.raw.decode.labels import BLACK_AND_WHITE, Labels
from pipeline.raw.decode.palette import class_colours
from pipeline.raw.layouts.base import Layout
from pipeline.raw.samples import Sample, index_by_name, missing_image_problems, pairing_problems
from pipeline.raw.tables import RESPELLED_REMEDY, describe_respelled, read_columns, respelled

CLASSES = ("background", "salt")
TILE_SHAPE = (101, 101)
"""Height and width of every tile in pixels, which run-length codes do not contain."""

_PNG = (".png",)


class Tgs(Layout):
    """TGS salt, or a folder of the same layout."""

    defaults: ClassVar = {
        "normalize": "unit",
        "test": {"rule": "permutation", "fraction": 0.15, "seed": 42},
    }
    challenge: ClassVar = "rle"
    tables: ClassVar = ("depths.csv",)  # train.csv is a file of the samples if it contains their masks
    official: ClassVar = ("test",)
    has_synthetic: ClassVar = True
    marker_folders: ClassVar = ("train/images", "train/masks")

    layout: Literal["tgs"] = Field(description="Layout of the raw files.")
    masks: Literal["png", "csv"] = Field(
        "png", description="Source of the masks: PNG files, or the run-length codes in `train.csv`."
    )

    def mask_labels(self) -> Labels:
        """Return the classes and label maps of the masks."""
        return Labels(CLASSES, class_colours(CLASSES), BLACK_AND_WHITE, rle_shape=TILE_SHAPE)

    def find_samples(self, root: Path, problems: list[Problem]) -> list[Sample]:
        """List the samples, with masks from ``train/masks`` or ``train.csv``."""
        folder, table, masks = root / "train" / "images", root / "train.csv", root / "train" / "masks"
        images = index_by_name(folder, problems, extensions=_PNG)
        remedy = "unpack train.zip of the TGS data into train/"
        problems += missing_image_problems(
            images, folder, "the labelled tiles, <id>.png", remedy, description="no PNG images"
        )
        depths = _read_depths(root / "depths.csv", problems)
        mask_files, codes = {}, {}
        if self.masks == "png":
            mask_files = index_by_name(masks, problems, extensions=_PNG)
            problems += pairing_problems(
                images, mask_files, masks, folder, alternative="use `masks: csv` if you have train.csv"
            )
        else:
            codes = read_columns(table, "id", "rle_mask", problems)
            rows = {name: f"{table}, {name}" for name in codes}
            problems += pairing_problems(
                images, rows, table, folder, alternative="use `masks: png` if you have train/masks"
            )
        unlabelled_images = index_by_name(root / "test" / "images", problems, extensions=_PNG)
        for path, rows_by_id in ((table, codes), (root / "depths.csv", depths or {})):
            if similar := respelled(rows_by_id.keys() - images.keys() - unlabelled_images.keys(), images.keys()):
                found = f"identifiers that were changed: {describe_respelled(dict(sorted(similar.items())))}"
                problems.append(Problem(str(path), found, "the names of the images", RESPELLED_REMEDY))
        labelled = [
            Sample(
                id=name,
                image=path,
                mask=mask_files.get(name),
                mask_codes=codes.get(name, "") if self.masks == "csv" else None,
                codes_file=str(table) if self.masks == "csv" else None,
                official_split="training",
                metadata=_depth_metadata(depths, name),
            )
            for name, path in images.items()
        ]
        unlabelled = [
            Sample(id=name, image=path, official_split="test", metadata=_depth_metadata(depths, name))
            for name, path in unlabelled_images.items()
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
                Problem(f"{path}, id {name}", f"the depth {text!r}", "a number", "correct it, or move depths.csv away")
            )
    return depths


def _depth_metadata(depths: dict[str, float] | None, name: str) -> Mapping[str, float]:
    if depths is None:
        return MappingProxyType({})
    return MappingProxyType({"depth": depths.get(name, math.nan)})
