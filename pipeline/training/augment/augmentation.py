"""Change training samples at random, image, mask and weights together, on the device that trains.

All random numbers come from one generator on the CPU, so that the same seed gives the same samples on every device; and
they are drawn for a whole batch, so that a sample is changed in the same way whichever process works on it.
"""

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from pipeline.core.errors import Problem
from pipeline.training.augment import transforms
from pipeline.training.augment.batch_rng import BatchRng, Planes
from pipeline.training.augment.options import Augment
from pipeline.training.data import Batch


class Augmentation:
    """Random changes of a batch, each sample by its own.

    Parameters
    ----------
    crop : (int, int), optional
        Height and width to cut out at a random place; no more than those of the samples. Without it the size stays.
    augment : Augment, optional
    """

    def __init__(self, crop: tuple[int, int] | None, augment: Augment | None) -> None:
        steps = [] if augment is None else augment.steps()
        self._transforms: list[Callable[[Planes, BatchRng], Planes]] = []
        if crop is not None and not any(step.crops for step in steps):
            self._transforms.append(partial(transforms.crop, size=crop))
        for step in steps:
            module, _, name = step.function.rpartition(".")
            options: dict[str, Any] = {option: getattr(augment, option) for option in step.options}
            if step.crops:
                options["crop"] = crop
            self._transforms.append(partial(getattr(importlib.import_module(module), name), **options))

    def __call__(
        self, batch: Batch, rng: torch.Generator, soft: bool = False, rows: slice | None = None, batch_rows: int = 0
    ) -> Batch:
        """Return a changed batch.

        Parameters
        ----------
        batch : Batch
        rng : torch.Generator
            On the CPU.
        soft : bool
            Whether targets between 0 and 1 are meant, and may be interpolated.
        rows : slice, optional
            Which rows of a larger batch these are, where they are a part of one.
        batch_rows : int
            Number of rows of that larger batch.
        """
        batch_rng = BatchRng(rng, batch_rows if rows else len(batch.image), rows or slice(None), soft)
        planes = {"image": batch.image, "target": batch.target}
        if batch.weight is not None:
            planes["weight"] = batch.weight
        for transform in self._transforms:
            planes = transform(planes, batch_rng)
        image = planes["image"].contiguous(memory_format=torch.channels_last)
        return Batch(image=image, target=planes["target"], weight=planes.get("weight"))


def crop_problems(experiment: str, crop: tuple[int, int] | None, size: tuple[int, int]) -> list[Problem]:
    """Say where a crop does not fit into samples of a size, both height and width."""
    if crop is None or (crop[0] <= size[0] and crop[1] <= size[1]):
        return []
    return [
        Problem(
            f"experiment {experiment!r}, crop",
            f"{crop[0]}x{crop[1]} from samples of {size[0]}x{size[1]} (height x width)",
            "a crop that fits into the samples",
            "make `crop` smaller, or `size` of the data set larger",
        )
    ]
