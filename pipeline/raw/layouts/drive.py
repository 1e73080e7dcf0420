"""Layout of DRIVE: retina photographs, vessel masks of two observers, fields of view.

::

    root/training/images/21_training.tif      root/test/images/01_test.tif
    root/training/1st_manual/21_manual1.gif   root/test/1st_manual/01_manual1.gif
    root/training/mask/21_training_mask.gif   root/test/mask/01_test_mask.gif
                                              root/test/2nd_manual/01_manual2.gif

Names differ by role, so files pair on the number they start with. Newer downloads bring no labels for the test
half (no ``1st_manual``): its images are then unlabelled samples. ``train`` is accepted for ``training``.
"""

import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pipeline.core.errors import Problem
from pipeline.raw.decode.labels import BLACK_AND_WHITE, LabelMap, Labels
from pipeline.raw.decode.palette import class_colours
from pipeline.raw.layouts.base import Layout
from pipeline.raw.samples import Sample, by_name, no_images, unpaired

CLASSES = ("background", "vessel")
OBSERVER_MEANING = LabelMap({0: 0, 3: 0, 253: 1, 255: 1})
"""The second observer's GIFs carry a palette whose two colours are grey 3 and 253."""

_HALVES = (("training", ("training", "train")), ("test", ("test",)))
_PARTNERS = {"1st_manual": "mask", "mask": "field of view", "2nd_manual": "second observer's mask"}
_NUMBER = re.compile(r"\d+")


class Drive(Layout):
    """DRIVE retina vessels, or a folder of the same layout."""

    defaults: ClassVar = {"normalize": "minmax", "test": "official"}
    challenge: ClassVar = "images"
    presentation: ClassVar = ("submission_name",)
    official: ClassVar = ("test",)
    has_synthetic: ClassVar = True
    marks: ClassVar = ("training/images", "training/1st_manual")

    layout: Literal["drive"]
    submission_name: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9_-]*\{(number|id)\}[A-Za-z0-9_-]*\.png$",
            description="What the files of a submission are called; {number}: without leading zeros, {id}: with",
        ),
    ] = "{number}.png"

    def submitted_as(self) -> str:
        """Return the template of the names of images that are handed in."""
        return self.submission_name

    def describe(self) -> Labels:
        """Say what the masks mean."""
        return Labels(CLASSES, class_colours(CLASSES), BLACK_AND_WHITE, observer_meaning=OBSERVER_MEANING)

    def find_samples(self, root: Path, problems: list[Problem]) -> list[Sample]:
        """List the samples; identifiers are the leading numbers, as written: ``"01"``."""
        samples: list[Sample] = []
        for half, names in _HALVES:
            folder = next((root / name for name in names if (root / name).is_dir()), None)
            if folder is None:
                problems.append(
                    Problem(
                        str(root / half),
                        "no such folder",
                        "the half of DRIVE of that name, with images/, 1st_manual/ and mask/",
                        "unpack DRIVE so that training/ and test/ stand directly in the root",
                    )
                )
            else:
                samples += _list_half(folder, half, problems)
        return samples


def _list_half(folder: Path, half: str, problems: list[Problem]) -> list[Sample]:
    images = _by_number(folder / "images", problems)
    files = {role: _by_number(folder / role, problems) for role in _PARTNERS}
    problems += no_images(images, folder / "images", "images such as 21_training.tif", "unpack DRIVE there")
    for role, what in _PARTNERS.items():
        optional = (role == "1st_manual" and half == "test") or role == "2nd_manual"
        if files[role] or not optional:  # a whole role may be absent; a gap in it may not
            problems += unpaired(
                images, files[role], folder / role, folder / "images", what, same="that starts with the same number"
            )
    return [
        Sample(
            id=number,
            image=image,
            mask=files["1st_manual"].get(number),
            fov=files["mask"].get(number),
            observer=files["2nd_manual"].get(number),
            official_split=half,
        )
        for number, image in images.items()
    ]


def _by_number(folder: Path, problems: list[Problem]) -> dict[str, str]:
    """Map leading numbers to the image files of `folder`."""

    def number(name: str) -> str | None:
        match = _NUMBER.match(name)
        return match and match.group()

    return by_name(folder, problems, number, ("a name without a leading number", "a name such as 21_training.tif"))
