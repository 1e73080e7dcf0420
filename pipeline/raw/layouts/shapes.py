"""Layout of Shapes: small images of circles, triangles and squares.

::

    root/train_imgs/0.jpg     root/test_imgs/900.jpg
    root/train_mask/0.png     root/test_mask/900.png   (the folder may be absent)

Images and masks pair on their number. A mask's blue channel holds the class index: masks are usually grey, and then
all channels agree. Without ``test_mask`` the images of ``test_imgs`` are unlabelled samples.
"""

from pathlib import Path
from typing import ClassVar, Literal

from pipeline.core.errors import Problem
from pipeline.raw.decode.labels import LabelMap, Labels
from pipeline.raw.decode.palette import Colour, Key
from pipeline.raw.layouts.base import Layout
from pipeline.raw.samples import Sample, by_name, no_images, stem, unpaired

CLASSES = ("background", "circle", "triangle", "square")
COLOURS: tuple[Colour, ...] = ((0, 0, 0), (128, 0, 0), (0, 128, 0), (0, 0, 128))

_VALIDATION = range(800, 900)
_TEST = range(900, 1000)


class Shapes(Layout):
    """Shapes (circles, triangles, squares), or a folder of the same layout."""

    defaults: ClassVar = {"normalize": "symmetric", "test": "official", "validation": "official"}
    official: ClassVar = ("test", "validation")
    has_synthetic: ClassVar = True
    marks: ClassVar = ("train_imgs", "train_mask")

    layout: Literal["shapes"]

    def describe(self) -> Labels:
        """Say what the masks mean."""
        indices: dict[Key, int] = {index: index for index in range(len(CLASSES))}
        return Labels(CLASSES, COLOURS, LabelMap(indices, channel="blue"))

    def find_samples(self, root: Path, problems: list[Problem]) -> list[Sample]:
        """List the samples; identifiers are the numbers, as written: ``"7"``.

        Of ``train_imgs``, the numbers 800 to 899 are official validation samples and 900 to 999 official test samples;
        all of ``test_imgs`` are official test samples.
        """
        samples: list[Sample] = []
        for half in ("train", "test"):
            image_folder, mask_folder = root / f"{half}_imgs", root / f"{half}_mask"
            images, masks = _by_number(image_folder, problems), _by_number(mask_folder, problems)
            if half == "train":
                problems += no_images(
                    images,
                    image_folder,
                    "images such as 0.jpg, with their masks in train_mask/",
                    "unpack Shapes so that train_imgs/ and train_mask/ stand directly in the root",
                )
            if half == "train" or mask_folder.is_dir():
                problems += unpaired(images, masks, mask_folder, image_folder)
            samples += [
                Sample(id=name, image=path, mask=masks.get(name), official_split=_official(half, int(name)))
                for name, path in images.items()
            ]
        return samples


def _by_number(folder: Path, problems: list[Problem]) -> dict[str, str]:
    def number(name: str) -> str | None:
        text = stem(name)
        return text if text.isascii() and text.isdigit() else None

    return by_name(folder, problems, number, ("a name that is no number", "a name such as 7.jpg or 7.png"))


def _official(half: str, number: int) -> str:
    if half == "test" or number in _TEST:
        return "test"
    return "validation" if number in _VALIDATION else "training"
