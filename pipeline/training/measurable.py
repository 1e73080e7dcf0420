"""What validation samples have to be like, so that they say how good a network is."""

from pipeline.core.errors import Problem, TrainingError
from pipeline.shards.read import ShardInfo

_ALIKE = ("channels", "class_names", "mask_kind", "normalization")
_OF_TWO_CLASSES = ("val_mae", "val_max_f")


def require_measurable(experiment: str, training: ShardInfo, validation: ShardInfo, monitor: str) -> None:
    """Refuse validation samples that were not prepared as the training samples, and a monitor they cannot tell.

    Parameters
    ----------
    experiment : str
    training, validation : ShardInfo
    monitor : str
        See `pipeline.training.run.train`.

    Raises
    ------
    TrainingError
    """
    problems = [
        Problem(
            f"experiment {experiment!r}, validation samples, {name}",
            str(getattr(validation, name)),
            f"{getattr(training, name)}, as the training samples have it",
            "name training and validation shards of one data set",
        )
        for name in _ALIKE
        if getattr(validation, name) != getattr(training, name)
    ]
    if len(training.class_names) > 2 and monitor in _OF_TWO_CLASSES:
        problems.append(
            Problem(
                f"experiment {experiment!r}, monitor",
                f"{monitor!r} for {len(training.class_names)} classes",
                "a score of several classes: val_loss or val_dice",
                "choose one of them",
            )
        )
    if problems:
        raise TrainingError(problems)
