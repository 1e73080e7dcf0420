"""Layout of DUTS: photographs and masks of their salient objects.

::

    root/DUTS-TR/DUTS-TR-Image/n01440764_10.jpg    root/DUTS-TE/DUTS-TE-Image/<name>.jpg
    root/DUTS-TR/DUTS-TR-Mask/n01440764_10.png     root/DUTS-TE/DUTS-TE-Mask/<name>.png

Images and masks are paired by name. Many masks have soft edges, so they are read as probabilities unless
``mask_kind: index`` is set. One of the two folders may be missing; without ``DUTS-TE-Mask`` the test images are
unlabelled.
"""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from pipeline.core.errors import Problem
from pipeline.raw.decode.labels import BLACK_AND_WHITE, Labels
from pipeline.raw.decode.palette import class_colours
from pipeline.raw.layouts.base import Layout
from pipeline.raw.samples import Sample, index_by_name, missing_image_problems, pairing_problems

CLASSES = ("background", "salient")

_SPLIT_FOLDERS = (("DUTS-TR", "training"), ("DUTS-TE", "test"))


class Duts(Layout):
    """DUTS salient objects, or a folder of the same layout."""

    defaults: ClassVar = {
        "mask_kind": "soft",
        # mean and standard deviation of ImageNet, as usual for salient object detection
        "normalize": {"method": "standard", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
        "test": "official",
        "validation": {"fraction": 0.1},
    }
    official: ClassVar = ("test",)
    has_synthetic: ClassVar = True
    marker_folders: ClassVar = ("DUTS-TR/DUTS-TR-Image", "DUTS-TR/DUTS-TR-Mask")

    layout: Literal["duts"] = Field(description="Layout of the raw files.")

    def mask_labels(self) -> Labels:
        """Return the classes and label maps of the masks."""
        return Labels(CLASSES, class_colours(CLASSES), BLACK_AND_WHITE)

    def find_samples(self, root: Path, problems: list[Problem]) -> list[Sample]:
        """List the samples; identifiers are file names without extension."""
        samples: list[Sample] = []
        folders = [(name, split) for name, split in _SPLIT_FOLDERS if (root / name).is_dir()]
        if not folders:
            problems.append(
                Problem(
                    str(root),
                    "neither DUTS-TR nor DUTS-TE",
                    "at least one of the two folders",
                    "unpack DUTS so that `root` contains DUTS-TR/ and DUTS-TE/",
                )
            )
        for folder, split in folders:
            image_folder, mask_folder = root / folder / f"{folder}-Image", root / folder / f"{folder}-Mask"
            images, masks = index_by_name(image_folder, problems), index_by_name(mask_folder, problems)
            problems += missing_image_problems(
                images, image_folder, "images such as <name>.jpg", f"unpack {folder} into this folder"
            )
            if masks or split != "test":  # test masks may be missing completely, but not for some images
                problems += pairing_problems(images, masks, mask_folder, image_folder)
            samples += [
                Sample(id=name, image=path, mask=masks.get(name), official_split=split) for name, path in images.items()
            ]
        return samples
