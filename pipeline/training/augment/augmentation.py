"""Change training samples at random, picture, mask and weights together, on the device that trains.

All random numbers come from one generator on the CPU, so that the same seed gives the same samples on every device; and
they are drawn for a whole batch, so that a sample is changed in the same way whichever process works on it.
"""

import importlib
from collections.abc import Sequence
from typing import Any

import torch

from pipeline.training.augment.crop import Crop
from pipeline.training.augment.options import Augment
from pipeline.training.augment.planes import Draws, Planes, Transform
from pipeline.training.data import Batch


class Augmentation:
    """Random changes of a batch, each sample by its own.

    Parameters
    ----------
    transforms : sequence of Transform
        Steps, in their order.
    crop : (int, int), optional
        Height and width that the steps cut out, for the message where samples are smaller.
    """

    def __init__(self, transforms: Sequence[Transform], crop: tuple[int, int] | None = None) -> None:
        self._transforms = transforms
        self._crop = crop

    def __call__(
        self, batch: Batch, random: torch.Generator, soft: bool = False, rows: slice | None = None, whole: int = 0
    ) -> Batch:
        """Return a changed batch.

        Parameters
        ----------
        batch : Batch
        random : torch.Generator
            On the CPU.
        soft : bool
            Whether targets between 0 and 1 are meant, and may be interpolated.
        rows : slice, optional
            Which rows of a larger batch these are, where they are a part of one.
        whole : int
            Number of rows of that larger batch.

        Raises
        ------
        ValueError
            If the crop is larger than the samples.
        """
        height, width = batch.image.shape[-2:]
        if self._crop is not None and (self._crop[0] > height or self._crop[1] > width):
            rows_by_columns = "x".join(map(str, self._crop))
            raise ValueError(f"a crop of {rows_by_columns} from samples of {height}x{width} (height x width)")
        draws = Draws(random, whole if rows else len(batch.image), rows or slice(None), soft)
        planes: Planes = {"image": batch.image, "target": batch.target}
        if batch.weight is not None:
            planes["weight"] = batch.weight
        for transform in self._transforms:
            planes = transform(planes, draws)
        image = planes["image"].contiguous(memory_format=torch.channels_last)
        return Batch(image=image, target=planes["target"], weight=planes.get("weight"))


def build_augmentation(crop: tuple[int, int] | None, augment: Augment | None) -> Augmentation:
    """Build what changes training samples.

    Parameters
    ----------
    crop : (int, int), optional
        Height and width to cut out at a random place. Without it the size stays.
    augment : Augment, optional
    """
    steps = [] if augment is None else augment.steps()
    transforms: list[Transform] = [] if crop is None or any(step.crops for step in steps) else [Crop(crop)]
    for step in steps:
        module, _, name = step.factory.rpartition(".")
        options: dict[str, Any] = {option: getattr(augment, option) for option in step.options}
        if step.crops:
            options["crop"] = crop
        transforms.append(getattr(importlib.import_module(module), name)(**options))
    return Augmentation(transforms, crop)
