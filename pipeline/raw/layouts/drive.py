"""Layout of DRIVE: retinal images, vessel masks of two observers, fields of view.

::

    root/training/images/21_training.tif      root/test/images/01_test.tif
    root/training/1st_manual/21_manual1.gif   root/test/1st_manual/01_manual1.gif
    root/training/mask/21_training_mask.gif   root/test/mask/01_test_mask.gif
                                              root/test/2nd_manual/01_manual2.gif

File names differ by role, so files are paired by their leading number. Newer downloads have no labels for the test
images (no ``1st_manual``), which are then unlabelled samples. ``train`` is accepted for ``training``.
"""

import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pipeline.core.errors import Problem
from pipeline.raw.decode.labels import BLACK_AND_WHITE, LabelMap, Labels
from pipeline.raw.decode.palette import class_colours
from pipeline.raw.layouts.base import Layout
from pipeline.raw.samples import Sample, index_by_name, missing_image_problems, pairing_problems

CLASSES = ("background", "vessel")
OBSERVER_LABEL_MAP = LabelMap({0: 0, 3: 0, 253: 1, 255: 1})
"""The palettes of the second observer's GIF files have the two colours grey 3 and 253."""

_SPLIT_FOLDERS = (("training", ("training", "train")), ("test", ("test",)))
_ROLES = {"1st_manual": "mask", "mask": "field of view", "2nd_manual": "second observer's mask"}
_NUMBER = re.compile(r"\d+")


class Drive(Layout):
    """DRIVE retinal vessels, or a folder of the same layout."""

    defaults: ClassVar = {"normalize": "minmax", "test": "official"}
    challenge: ClassVar = "images"
    presentation: ClassVar = ("submission_name",)
    official: ClassVar = ("test",)
    has_synthetic: ClassVar = True
    marker_folders: ClassVar = ("training/images", "training/1st_manual")

    layout: Literal["drive"] = Field(description="Layout of the raw files.")
    submission_name: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9_-]*\{(number|id)\}[A-Za-z0-9_-]*\.png$",
            description="Template of file names in a submission; `{number}` is the identifier without leading zeros.",
        ),
    ] = "{number}.png"

    def submission_template(self) -> str:
        """Return the template of file names in a submission."""
        return self.submission_name

    def mask_labels(self) -> Labels:
        """Return the classes and label maps of the masks."""
        return Labels(CLASSES, class_colours(CLASSES), BLACK_AND_WHITE, observer_label_map=OBSERVER_LABEL_MAP)

    def find_samples(self, root: Path, problems: list[Problem]) -> list[Sample]:
        """List the samples; the identifier is the number that starts the file name, such as ``"01"``."""
        samples: list[Sample] = []
        for split, names in _SPLIT_FOLDERS:
            folder = next((root / name for name in names if (root / name).is_dir()), None)
            if folder is None:
                problems.append(
                    Problem(
                        str(root / split),
                        "no such folder",
                        "a folder with images/, 1st_manual/ and mask/",
                        "unpack DRIVE so that `root` contains training/ and test/",
                    )
                )
            else:
                samples += _list_split(folder, split, problems)
        return samples


def _list_split(folder: Path, split: str, problems: list[Problem]) -> list[Sample]:
    images = _by_number(folder / "images", problems)
    files = {role: _by_number(folder / role, problems) for role in _ROLES}
    problems += missing_image_problems(
        images, folder / "images", "images such as 21_training.tif", "unpack DRIVE into this folder"
    )
    for role, description in _ROLES.items():
        optional = (role == "1st_manual" and split == "test") or role == "2nd_manual"
        if files[role] or not optional:  # an optional role may be missing completely, but not for some images
            problems += pairing_problems(
                images,
                files[role],
                folder / role,
                folder / "images",
                description,
                matching="that starts with the number {}".format,
            )
    return [
        Sample(
            id=number,
            image=image,
            mask=files["1st_manual"].get(number),
            fov=files["mask"].get(number),
            observer=files["2nd_manual"].get(number),
            official_split=split,
        )
        for number, image in images.items()
    ]


def _by_number(folder: Path, problems: list[Problem]) -> dict[str, str]:
    """Index the image files of a folder by leading number."""

    def leading_number(name: str) -> str | None:
        match = _NUMBER.match(name)
        return match and match.group()

    return index_by_name(
        folder, problems, leading_number, ("a name without a leading number", "a name such as 21_training.tif")
    )
