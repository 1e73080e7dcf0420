"""Layout of Shapes: small images of circles, triangles and squares.

::

    root/train_imgs/0.jpg     root/test_imgs/900.jpg
    root/train_mask/0.png     root/test_mask/900.png   (optional folder)

Images and masks are paired by number. The blue channel of a mask contains the class index; most masks are grey, with
equal channels. Without ``test_mask`` the images of ``test_imgs`` are unlabelled samples.
"""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from pipeline.core.errors import Problem
from pipeline.raw.decode.labels import LabelMap, Labels
from pipeline.raw.decode.palette import Colour, MaskValue
from pipeline.raw.layouts.base import Layout
from pipeline.raw.samples import Sample, index_by_name, missing_image_problems, pairing_problems, stem

CLASSES = ("background", "circle", "triangle", "square")
COLOURS: tuple[Colour, ...] = ((0, 0, 0), (128, 0, 0), (0, 128, 0), (0, 0, 128))

_VALIDATION = range(800, 900)
_TEST = range(900, 1000)


class Shapes(Layout):
    """Shapes (circles, triangles, squares), or a folder of the same layout."""

    defaults: ClassVar = {"normalize": "symmetric", "test": "official", "validation": "official"}
    official: ClassVar = ("test", "validation")
    has_synthetic: ClassVar = True
    marker_folders: ClassVar = ("train_imgs", "train_mask")

    layout: Literal["shapes"] = Field(description="Layout of the raw files.")

    def mask_labels(self) -> Labels:
        """Return the classes and label maps of the masks."""
        indices: dict[MaskValue, int] = {index: index for index in range(len(CLASSES))}
        return Labels(CLASSES, COLOURS, LabelMap(indices, channel="blue"))

    def find_samples(self, root: Path, problems: list[Problem]) -> list[Sample]:
        """List the samples; the identifier is the number in the file name, such as ``"7"``.

        In ``train_imgs`` the numbers 800 to 899 are official validation samples and 900 to 999 official test samples;
        all images in ``test_imgs`` are official test samples.
        """
        samples: list[Sample] = []
        for split in ("train", "test"):
            image_folder, mask_folder = root / f"{split}_imgs", root / f"{split}_mask"
            images, masks = _by_number(image_folder, problems), _by_number(mask_folder, problems)
            if split == "train":
                problems += missing_image_problems(
                    images,
                    image_folder,
                    "images such as 0.jpg, with their masks in train_mask/",
                    "unpack Shapes so that `root` contains train_imgs/ and train_mask/",
                )
            if split == "train" or mask_folder.is_dir():
                problems += pairing_problems(images, masks, mask_folder, image_folder)
            samples += [
                Sample(
                    id=sample_id,
                    image=path,
                    mask=masks.get(sample_id),
                    official_split=_official_split(split, int(sample_id)),
                )
                for sample_id, path in images.items()
            ]
        return samples


def _by_number(folder: Path, problems: list[Problem]) -> dict[str, str]:
    """Index the image files of a folder by the number that is their name."""

    def number_of(name: str) -> str | None:
        text = stem(name)
        return text if text.isascii() and text.isdigit() else None

    return index_by_name(folder, problems, number_of, ("a name that is not a number", "a name such as 7.jpg or 7.png"))


def _official_split(split: str, number: int) -> str:
    if split == "test" or number in _TEST:
        return "test"
    return "validation" if number in _VALIDATION else "training"
