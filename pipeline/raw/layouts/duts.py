"""Layout of DUTS: photographs and masks of what stands out in them.

::

    root/DUTS-TR/DUTS-TR-Image/n01440764_10.jpg    root/DUTS-TE/DUTS-TE-Image/<name>.jpg
    root/DUTS-TR/DUTS-TR-Mask/n01440764_10.png     root/DUTS-TE/DUTS-TE-Mask/<name>.png

Images and masks pair on their name. Many masks have soft edges, so they are read as probabilities unless
``mask_kind: index`` is said. One of the halves may be absent; without ``DUTS-TE-Mask`` its images are unlabelled.
"""

from pathlib import Path
from typing import ClassVar, Literal

from pipeline.core.errors import Problem
from pipeline.raw.decode.labels import BLACK_AND_WHITE, Labels
from pipeline.raw.decode.palette import class_colours
from pipeline.raw.layouts.base import Layout
from pipeline.raw.samples import Sample, by_name, no_images, unpaired

CLASSES = ("background", "salient")

_HALVES = (("DUTS-TR", "training"), ("DUTS-TE", "test"))


class Duts(Layout):
    """DUTS salient objects, or a folder of the same layout."""

    defaults: ClassVar = {
        "mask_kind": "soft",
        # of ImageNet, as networks for salient objects are trained
        "normalize": {"method": "standard", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
        "test": "official",
        "validation": {"fraction": 0.1},
    }
    official: ClassVar = ("test",)
    has_synthetic: ClassVar = True
    marks: ClassVar = ("DUTS-TR/DUTS-TR-Image", "DUTS-TR/DUTS-TR-Mask")

    layout: Literal["duts"]

    def describe(self) -> Labels:
        """Say what the masks mean."""
        return Labels(CLASSES, class_colours(CLASSES), BLACK_AND_WHITE)

    def find_samples(self, root: Path, problems: list[Problem]) -> list[Sample]:
        """List the samples; identifiers are names without their endings."""
        samples: list[Sample] = []
        halves = [(name, official) for name, official in _HALVES if (root / name).is_dir()]
        if not halves:
            problems.append(
                Problem(
                    str(root),
                    "neither DUTS-TR nor DUTS-TE",
                    "at least one of the two folders",
                    "unpack DUTS so that DUTS-TR/ and DUTS-TE/ stand directly in the root",
                )
            )
        for half, official in halves:
            image_folder, mask_folder = root / half / f"{half}-Image", root / half / f"{half}-Mask"
            images, masks = by_name(image_folder, problems), by_name(mask_folder, problems)
            problems += no_images(images, image_folder, "images such as <name>.jpg", f"unpack {half} there")
            if masks or official != "test":  # a whole role may be absent; a gap in it may not
                problems += unpaired(images, masks, mask_folder, image_folder)
            samples += [
                Sample(id=name, image=path, mask=masks.get(name), official_split=official)
                for name, path in images.items()
            ]
        return samples
