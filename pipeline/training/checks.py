"""Check before training that the machine and the samples fit the settings."""

import torch

from pipeline.core.errors import Problem, TrainingError
from pipeline.shards.read import ShardInfo
from pipeline.training import ranks
from pipeline.training.augment.augmentation import crop_problems
from pipeline.training.recipes import SOFTMAX_LOSSES, TrainRecipe

_SAME_IN_VALIDATION = {
    "channels": "channels",
    "class_names": "classes",
    "mask_kind": "kind of mask",
    "normalization": "normalization",
}
"""Attributes of `ShardInfo` that training and validation samples have in common, with their names in messages."""

_TWO_CLASS_MONITORS = ("val_mae", "val_max_f")


def require_ranks(experiment: str, recipe: TrainRecipe, device: torch.device) -> None:
    """Check the configured number of GPUs against the running processes and the device.

    Raises
    ------
    TrainingError
    """
    location, gpus = f"experiment {experiment!r}", recipe.gpus
    problems = []
    if gpus != ranks.world_size():
        actual = f"{gpus} GPUs, but {ranks.world_size()} training processes"
        remedy = "start the training with `python -m pipeline train`"
        problems.append(Problem(f"{location}, gpus", actual, "one process for each GPU", remedy))
    if gpus > 1 and device.type not in ("cuda", "cpu"):
        actual, expected = f"{gpus} on {device.type}, which is a single device", "CUDA GPUs, or the CPU"
        problems.append(Problem(f"{location}, gpus", actual, expected, "set `gpus: 1`"))
    if recipe.sync_batch_norm and device.type != "cuda":
        expected = "CUDA: PyTorch synchronizes batch normalization only there"
        remedy = "set `sync_batch_norm: false`, or train on GPUs"
        problems.append(Problem(f"{location}, sync_batch_norm", f"true on {device.type}", expected, remedy))
    if problems:
        raise TrainingError(problems)


def require_fit(experiment: str, recipe: TrainRecipe, training: ShardInfo, validation: ShardInfo | None) -> None:
    """Check that crop, loss and monitor fit the samples, and that validation samples match training samples.

    Raises
    ------
    TrainingError
    """
    location, classes = f"experiment {experiment!r}", len(training.class_names)
    problems = crop_problems(experiment, recipe.crop, training.size)
    if classes > 2 and recipe.loss.name not in SOFTMAX_LOSSES:
        actual = f"{recipe.loss.name!r} for {classes} classes"
        expected = f"a loss for more than two classes: {', '.join(sorted(SOFTMAX_LOSSES))}"
        problems.append(Problem(f"{location}, loss", actual, expected, "set one of them"))
    if validation is not None and classes > 2 and recipe.monitor in _TWO_CLASS_MONITORS:
        actual = f"{recipe.monitor!r} for {classes} classes"
        expected = "a score for more than two classes: val_loss or val_dice"
        problems.append(Problem(f"{location}, monitor", actual, expected, "set one of them"))
    problems += [
        Problem(
            f"{location}: validation shards, {label}",
            str(getattr(validation, name)),
            f"{getattr(training, name)}, as in the training shards",
            "use training and validation shards of the same data set",
        )
        for name, label in _SAME_IN_VALIDATION.items()
        if validation is not None and getattr(validation, name) != getattr(training, name)
    ]
    if problems:
        raise TrainingError(problems)
