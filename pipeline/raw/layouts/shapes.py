"""Layout of Shapes: small pictures of circles, triangles and squares.

::

    root/train_imgs/0.jpg     root/test_imgs/900.jpg
    root/train_mask/0.png     root/test_mask/900.png   (the folder may be absent)

Pictures and masks pair on their number. A mask's blue channel holds the class index: masks are usually grey, and then
all channels agree. Without ``test_mask`` the pictures of ``test_imgs`` are unlabelled samples.
"""

from operator import attrgetter
from pathlib import Path
from typing import ClassVar, Literal

from pipeline.core.errors import Problem
from pipeline.raw.decode.labels import LabelMap, Labels
from pipeline.raw.decode.palette import Colour, Key
from pipeline.raw.layouts.base import Layout
from pipeline.raw.samples import ListingError, Sample, by_stem, repeated_ids, require_root, unpaired

CLASSES = ("background", "circle", "triangle", "square")
COLOURS: tuple[Colour, ...] = ((0, 0, 0), (128, 0, 0), (0, 128, 0), (0, 0, 128))

_VALIDATION = range(800, 900)
_TEST = range(900, 1000)


class Shapes(Layout):
    """Shapes (circles, triangles, squares), or a folder of the same layout."""

    defaults: ClassVar = {"normalize": "symmetric", "test": "official", "validation": "official"}

    layout: Literal["shapes"]

    def official_splits(self) -> tuple[str, ...]:
        """Name the splits for which the data set itself can name samples."""
        return ("test", "validation")

    def describe(self) -> Labels:
        """Say what the masks mean."""
        indices: dict[Key, int] = {index: index for index in range(len(CLASSES))}
        return Labels(CLASSES, COLOURS, LabelMap(indices, channel="blue"))

    def list_samples(self, root: Path, dataset: str) -> list[Sample]:
        """List the samples; identifiers are the numbers, as written: ``"7"``. See `Layout.list_samples`.

        Of ``train_imgs``, the numbers 800 to 899 are official validation samples and 900 to 999 official test samples;
        all of ``test_imgs`` are official test samples.
        """
        require_root(root, dataset, "shapes")
        problems: list[Problem] = []
        samples: list[Sample] = []
        for half in ("train", "test"):
            images = _by_number(root / f"{half}_imgs", problems)
            masks = _by_number(root / f"{half}_mask", problems)
            if half == "train" and not images:
                problems.append(
                    Problem(
                        str(root / "train_imgs"),
                        "no pictures",
                        "pictures such as 0.jpg, with their masks in train_mask/",
                        "unpack Shapes so that train_imgs/ and train_mask/ stand directly in the root",
                    )
                )
            if half == "train" or (root / "test_mask").is_dir():
                problems += unpaired(images, masks, str(root / f"{half}_mask"), str(root / f"{half}_imgs"))
            samples += [
                Sample(id=name, image=path, mask=masks.get(name), official_split=_official(half, int(name)))
                for name, path in images.items()
            ]
        problems += repeated_ids(samples)
        if problems:
            raise ListingError(problems, samples)
        return sorted(samples, key=attrgetter("id"))


def _by_number(folder: Path, problems: list[Problem]) -> dict[str, str]:
    files = by_stem(folder, problems)
    problems += [
        Problem(path, "a name that is no number", "a name such as 7.jpg or 7.png", "rename it, or move it away")
        for name, path in files.items()
        if not _is_number(name)
    ]
    return {name: path for name, path in files.items() if _is_number(name)}


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit()


def _official(half: str, number: int) -> str:
    if half == "test" or number in _TEST:
        return "test"
    return "validation" if number in _VALIDATION else "training"
