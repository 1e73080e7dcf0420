"""What a training asks of the machine and of its samples, before it begins."""

import torch

from pipeline.core.errors import Problem, TrainingError
from pipeline.shards.read import ShardInfo
from pipeline.training import ranks
from pipeline.training.augment.augmentation import crop_problems
from pipeline.training.recipes import SOFTMAX_LOSSES, TrainRecipe

_ALIKE = ("channels", "class_names", "mask_kind", "normalization")
_OF_TWO_CLASSES = ("val_mae", "val_max_f")


def require_ranks(experiment: str, recipe: TrainRecipe, device: torch.device) -> None:
    """Refuse a number of GPUs that the processes or the machine do not fit.

    Raises
    ------
    TrainingError
    """
    where, gpus = f"experiment {experiment!r}", recipe.gpus
    problems = []
    if gpus != ranks.world_size():
        found, remedy = (
            f"{gpus}, while {ranks.world_size()} of their processes run",
            "start it by `python -m pipeline train`",
        )
        problems.append(Problem(f"{where}, gpus", found, "a process for each", remedy))
    if gpus > 1 and device.type not in ("cuda", "cpu"):
        found = f"{gpus} with {device.type}, which is one"
        problems.append(Problem(f"{where}, gpus", found, "GPUs of CUDA, or none", "set `gpus: 1`"))
    if recipe.sync_batch_norm and device.type != "cuda":
        expected = "CUDA: PyTorch synchronizes batch normalization nowhere else"
        remedy = "set `sync_batch_norm: false`, or run it on GPUs"
        problems.append(Problem(f"{where}, sync_batch_norm", f"true on {device.type}", expected, remedy))
    if problems:
        raise TrainingError(problems)


def require_fit(experiment: str, recipe: TrainRecipe, training: ShardInfo, validation: ShardInfo | None) -> None:
    """Refuse a crop, a loss or a monitor that the samples do not fit, and validation samples unlike the others.

    Raises
    ------
    TrainingError
    """
    where, classes = f"experiment {experiment!r}", len(training.class_names)
    problems = crop_problems(experiment, recipe.crop, training.size)
    if classes > 2 and recipe.loss.name not in SOFTMAX_LOSSES:
        found, several = f"{recipe.loss.name!r} for {classes} classes", ", ".join(sorted(SOFTMAX_LOSSES))
        problems.append(
            Problem(f"{where}, loss", found, f"a loss for several classes: {several}", "choose one of them")
        )
    if validation is not None and classes > 2 and recipe.monitor in _OF_TWO_CLASSES:
        found, expected = (
            f"{recipe.monitor!r} for {classes} classes",
            "a score of several classes: val_loss or val_dice",
        )
        problems.append(Problem(f"{where}, monitor", found, expected, "choose one of them"))
    problems += [
        Problem(
            f"{where}, validation samples, {name}",
            str(getattr(validation, name)),
            f"{getattr(training, name)}, as the training samples have it",
            "name training and validation shards of one data set",
        )
        for name in _ALIKE
        if validation is not None and getattr(validation, name) != getattr(training, name)
    ]
    if problems:
        raise TrainingError(problems)
