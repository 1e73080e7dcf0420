"""Layout of TGS salt: seismic tiles, salt masks, depths.

::

    root/train/images/<id>.png      root/train/masks/<id>.png      root/train.csv   (id, rle_mask)
    root/test/images/<id>.png       (unlabelled, may be absent)    root/depths.csv  (id, z; may be absent)

Masks come from the PNG files (8-bit and 16-bit in one folder) or from the run-length codes of ``train.csv``.
The depth of a tile becomes the metadata column ``depth`` (feet, as distributed; NaN where unknown).
"""

import math
from collections.abc import Collection, Mapping
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Literal

from pipeline.core.errors import Problem
from pipeline.raw.decode.labels import BLACK_AND_WHITE, Labels
from pipeline.raw.decode.palette import class_colours
from pipeline.raw.layouts.base import Layout
from pipeline.raw.samples import ListingError, Sample, by_stem, repeated_ids, require_root
from pipeline.raw.tables import read_columns

CLASSES = ("background", "salt")
TILE = (101, 101)
"""Height and width of every tile: run-length codes do not carry their size."""

_PNG = (".png",)


class Tgs(Layout):
    """TGS salt, or a folder of the same layout."""

    defaults: ClassVar = {
        "normalize": "unit",
        "test": {"method": "permutation", "fraction": 0.15, "seed": 42},
    }
    challenge: ClassVar = "codes"
    tables: ClassVar = ("depths.csv",)  # train.csv belongs to the samples where it holds their masks

    layout: Literal["tgs"]
    masks: Literal["png", "csv"] = "png"

    def describe(self) -> Labels:
        """Say what the masks mean."""
        return Labels(CLASSES, class_colours(CLASSES), BLACK_AND_WHITE, tile=TILE)

    def list_samples(self, root: Path, dataset: str) -> list[Sample]:
        """List the samples, with masks from ``train/masks`` or ``train.csv``. See `Layout.list_samples`."""
        require_root(root, dataset, "tgs")
        problems: list[Problem] = []
        images = by_stem(root / "train" / "images", problems, _PNG)
        if not images:
            problems.append(
                Problem(
                    str(root / "train" / "images"),
                    "no PNG pictures",
                    "the labelled tiles, <id>.png",
                    "unpack train.zip of the TGS data into train/",
                )
            )
        depths = _read_depths(root / "depths.csv", problems)
        if self.masks == "png":
            labelled = _with_png_masks(root, images, depths, problems)
        else:
            labelled = _with_codes(root, images, depths, problems)
        unlabelled = [
            Sample(id=name, image=path, official_split="test", metadata=_depth(depths, name))
            for name, path in by_stem(root / "test" / "images", problems, _PNG).items()
        ]
        samples = labelled + unlabelled
        problems += repeated_ids(samples)
        if problems:
            raise ListingError(problems, samples)
        return sorted(samples, key=attrgetter("id"))


def _with_png_masks(
    root: Path, images: dict[str, str], depths: dict[str, float] | None, problems: list[Problem]
) -> list[Sample]:
    folder = root / "train" / "masks"
    files = by_stem(folder, problems, _PNG)
    problems += _unpaired(images, files.keys(), str(folder), "<id>.png", "use `masks: csv` if you have train.csv")
    return [
        Sample(id=name, image=path, mask=files.get(name), official_split="training", metadata=_depth(depths, name))
        for name, path in images.items()
    ]


def _with_codes(
    root: Path, images: dict[str, str], depths: dict[str, float] | None, problems: list[Problem]
) -> list[Sample]:
    table = root / "train.csv"
    codes = read_columns(table, "id", "rle_mask", problems)
    problems += _unpaired(images, codes.keys(), str(table), "a row", "use `masks: png` if you have train/masks")
    return [
        Sample(
            id=name,
            image=path,
            mask_codes=codes.get(name, ""),
            codes_file=str(table),
            official_split="training",
            metadata=_depth(depths, name),
        )
        for name, path in images.items()
    ]


def _unpaired(images: dict[str, str], masks: Collection[str], where: str, what: str, hint: str) -> list[Problem]:
    missing = [
        Problem(
            str(images[name]),
            f"no mask of that name in {where}",
            f"{what} for every picture",
            f"add the mask, remove the picture, or {hint}",
            kind="unpaired",
            sample=name,
        )
        for name in sorted(images.keys() - set(masks))
    ]
    extra = [
        Problem(
            f"{where}, {name}",
            "a mask without a picture in train/images",
            "one picture for every mask",
            "add the missing picture, or remove the mask",
            kind="unpaired",
            sample=name,
        )
        for name in sorted(set(masks) - images.keys())
    ]
    return missing + extra


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
