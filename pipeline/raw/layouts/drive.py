"""Layout of DRIVE: retina photographs, vessel masks of two observers, fields of view.

::

    root/training/images/21_training.tif      root/test/images/01_test.tif
    root/training/1st_manual/21_manual1.gif   root/test/1st_manual/01_manual1.gif
    root/training/mask/21_training_mask.gif   root/test/mask/01_test_mask.gif
                                              root/test/2nd_manual/01_manual2.gif

Names differ by role, so files pair on the number they start with. Newer downloads bring no labels for the test
half (no ``1st_manual``): its pictures are then unlabelled samples. ``train`` is accepted for ``training``.
"""

import os
import re
from operator import attrgetter
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pipeline.core.errors import Problem
from pipeline.raw.decode.labels import BLACK_AND_WHITE, LabelMap, Labels
from pipeline.raw.decode.palette import class_colours
from pipeline.raw.layouts.base import Layout
from pipeline.raw.samples import ListingError, Sample, image_files, repeated_ids, repeated_keys, require_root

CLASSES = ("background", "vessel")
OBSERVER_MEANING = LabelMap({0: 0, 3: 0, 253: 1, 255: 1})
"""The second observer's GIFs carry a palette whose two colours are grey 3 and 253."""

_HALVES = (("training", ("training", "train")), ("test", ("test",)))
_NUMBER = re.compile(r"\d+")


class Drive(Layout):
    """DRIVE retina vessels, or a folder of the same layout."""

    defaults: ClassVar = {"normalize": "minmax", "test": "official"}
    challenge: ClassVar = "pictures"
    presentation: ClassVar = ("submission_name",)

    layout: Literal["drive"]
    submission_name: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9_-]*\{(number|id)\}[A-Za-z0-9_-]*\.png$",
            description="What the files of a submission are called; {number}: without leading zeros, {id}: with",
        ),
    ] = "{number}.png"

    def submitted_as(self) -> str:
        """Return the template of the names of pictures that are handed in."""
        return self.submission_name

    def describe(self) -> Labels:
        """Say what the masks mean."""
        return Labels(CLASSES, class_colours(CLASSES), BLACK_AND_WHITE, observer_meaning=OBSERVER_MEANING)

    def list_samples(self, root: Path, dataset: str) -> list[Sample]:
        """List the samples; identifiers are the leading numbers, as written: ``"01"``. See `Layout.list_samples`."""
        require_root(root, dataset, "drive")
        samples: list[Sample] = []
        problems: list[Problem] = []
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
                continue
            samples += _list_half(folder, half, problems)
        problems += repeated_ids(samples)
        if problems:
            raise ListingError(problems, samples)
        return sorted(samples, key=attrgetter("id"))


def _list_half(folder: Path, half: str, problems: list[Problem]) -> list[Sample]:
    images = _by_number(folder / "images", problems)
    masks = _by_number(folder / "1st_manual", problems)
    fovs = _by_number(folder / "mask", problems)
    observers = _by_number(folder / "2nd_manual", problems)
    if not images:
        problems.append(
            Problem(str(folder / "images"), "no pictures", "pictures such as 21_training.tif", "unpack DRIVE there")
        )
    roles = {"1st_manual": masks, "mask": fovs, "2nd_manual": observers}
    for role, files in roles.items():
        optional = (role == "1st_manual" and half == "test") or role == "2nd_manual"
        if not files and optional:
            continue  # a whole role may be absent; a gap in it may not
        problems += _unpaired(folder, role, images, files)
    return [
        Sample(
            id=number,
            image=image,
            mask=masks.get(number),
            fov=fovs.get(number),
            observer=observers.get(number),
            official_split=half,
        )
        for number, image in images.items()
    ]


def _by_number(folder: Path, problems: list[Problem]) -> dict[str, str]:
    """Map leading numbers to the image files of `folder`; an absent folder is empty."""
    if not folder.is_dir():
        return {}
    keyed: list[tuple[str, str]] = []
    for name in image_files(folder):
        match = _NUMBER.match(name)
        if match is None:
            problems.append(
                Problem(
                    str(folder / name), "a name without a leading number", "a name such as 21_training.tif", "rename it"
                )
            )
        else:
            keyed.append((match.group(), name))
    problems += repeated_keys(folder, keyed)
    return {number: os.path.join(folder, name) for number, name in keyed}


def _unpaired(folder: Path, role: str, images: dict[str, str], files: dict[str, str]) -> list[Problem]:
    missing = [
        Problem(
            str(images[number]),
            f"no file that starts with {number} in {folder / role}",
            f"one file in {role}/ for every picture",
            "add the missing file, or remove the picture",
            kind="unpaired",
            sample=number,
        )
        for number in sorted(images.keys() - files.keys())
    ]
    extra = [
        Problem(
            str(files[number]),
            f"no picture that starts with {number} in {folder / 'images'}",
            f"one picture for every file in {role}/",
            "add the missing picture, or remove this file",
            kind="unpaired",
            sample=number,
        )
        for number in sorted(files.keys() - images.keys())
    ]
    return missing + extra
