"""Augment training samples: image, mask and weights together, on the device of the training run.

All random numbers come from one generator on the CPU, so that a seed gives the same samples on every device. They are
sampled for a whole batch, so that the augmentation of a sample does not depend on the process that computes it.
"""

import importlib
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any

import torch

from pipeline.core.errors import Problem
from pipeline.training.augment import transforms
from pipeline.training.augment.batch_rng import BatchRng, Change, Size, upload_numbers
from pipeline.training.augment.options import Augment
from pipeline.training.data import Batch


class Augmentation:
    """Random augmentation of a batch, with other random numbers for each sample.

    Parameters
    ----------
    crop : (int, int), optional
        Height and width of a random crop, at most those of the samples. Without it the size does not change.
    augment : Augment, optional
    """

    def __init__(self, crop: Size | None, augment: Augment | None) -> None:
        steps = [] if augment is None else augment.steps()
        self._crop = crop
        self._transforms: list[Callable[[BatchRng, Size], Change]] = []
        if crop is not None and not any(step.crops for step in steps):
            self._transforms.append(partial(transforms.place, flip="none", rot90=False, crop=crop))
        for step in steps:
            module, _, name = step.function.rpartition(".")
            options: dict[str, Any] = {option: getattr(augment, option) for option in step.options}
            if step.crops:
                options["crop"], crop = crop, None
            self._transforms.append(partial(getattr(importlib.import_module(module), name), **options))

    def __call__(
        self, batch: Batch, rng: torch.Generator, soft: bool = False, rows: slice | None = None, batch_rows: int = 0
    ) -> Batch:
        """Return the augmented batch.

        Parameters
        ----------
        batch : Batch
        rng : torch.Generator
            Generator on the CPU.
        soft : bool
            Whether targets are soft and can be interpolated.
        rows : slice, optional
            Position of these rows in a larger batch, if they are part of one.
        batch_rows : int
            Number of rows of that larger batch.
        """
        batch_rng = BatchRng(rng, batch_rows if rows else len(batch.image), rows or slice(None), soft)
        planes = {"image": batch.image, "target": batch.target}
        if batch.weight is not None:
            planes["weight"] = batch.weight
        size, changes = (batch.image.shape[-2], batch.image.shape[-1]), []
        for transform in self._transforms:
            changes.append(transform(batch_rng, size))
            size = self._crop or size  # the first transform crops
        numbers = iter(upload_numbers(batch.image.device, *(number for change in changes for number in change.numbers)))
        for change in changes:
            planes = change.apply(planes, *islice(numbers, len(change.numbers)))
        image = planes["image"].contiguous(memory_format=torch.channels_last)
        target, weight = planes["target"].contiguous(), planes.get("weight")
        # the same layout in all batches, whatever was drawn for them: a recorded step requires it
        return Batch(image=image, target=target, weight=None if weight is None else weight.contiguous())


def crop_problems(experiment: str, crop: tuple[int, int] | None, size: tuple[int, int]) -> list[Problem]:
    """Return the problem of a crop larger than the samples, if it is; both sizes are (height, width)."""
    if crop is None or (crop[0] <= size[0] and crop[1] <= size[1]):
        return []
    return [
        Problem(
            f"experiment {experiment!r}, crop",
            f"a crop of height {crop[0]} and width {crop[1]}; samples have height {size[0]} and width {size[1]}",
            "a crop no larger than the samples",
            "set a smaller `crop`, or a larger `size` of the data set",
        )
    ]
