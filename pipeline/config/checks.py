"""What a configuration says that is right in itself and does not fit together."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from pipeline.config.datasets import DriveDataset, DutsDataset, OfficialSplit, ShapesDataset, TgsDataset
from pipeline.config.experiments import SOFTMAX_LOSSES, Cosine, Experiment
from pipeline.config.folder import FolderDataset
from pipeline.core.errors import Problem
from pipeline.core.options import NAME

Dataset = Annotated[
    DriveDataset | TgsDataset | ShapesDataset | DutsDataset | FolderDataset, Field(discriminator="layout")
]
"""What `layout` tells apart."""


def bad_names(data: Mapping[str, Any]) -> list[Problem]:
    """List names that cannot become paths, or that are one path on some file systems."""
    problems = []
    for section in ("datasets", "experiments"):
        seen: dict[str, str] = {}
        for name in data.get(section) or {} if isinstance(data.get(section), Mapping) else ():
            if not NAME.fullmatch(name):
                problems.append(
                    Problem(
                        section,
                        f"the name {name!r}, which cannot become a path",
                        "letters, digits, '-' and '_', at most 64, the first a letter or digit",
                        "choose another name",
                    )
                )
            twin = seen.setdefault(name.lower(), name)
            if twin != name:
                problems.append(
                    Problem(
                        section,
                        f"the names {twin!r} and {name!r}",
                        "names that differ by more than upper and lower case (one file on some file systems)",
                        "rename one of them",
                    )
                )
    return problems


def unknown_datasets(data: Mapping[str, Any]) -> list[Problem]:
    """List experiments whose data set is not there."""
    experiments, datasets = data.get("experiments"), data.get("datasets")
    if not isinstance(experiments, Mapping) or not isinstance(datasets, Mapping):
        return []
    return [
        Problem(
            f"experiments.{name}.dataset",
            repr(experiment["dataset"]),
            f"one of the data sets: {', '.join(sorted(datasets)) or 'none'}",
            "correct the name, or add the data set under `datasets`",
        )
        for name, experiment in experiments.items()
        if isinstance(experiment, Mapping) and "dataset" in experiment and experiment["dataset"] not in datasets
    ]


def _unfit_for_classes(name: str, experiment: Experiment, classes: Sequence[str]) -> list[Problem]:
    """List what an experiment says that does not fit the number of its classes."""
    said = f"its data set has {len(classes)} classes ({', '.join(classes)})"
    given = experiment.model_fields_set
    problems = []
    if len(classes) > 2 and experiment.loss.name not in SOFTMAX_LOSSES:
        problems.append(
            Problem(
                f"experiments.{name}.loss",
                f"{experiment.loss.name!r}, while {said}",
                f"a loss with a channel for each class: {', '.join(sorted(SOFTMAX_LOSSES))}",
                "set `loss: cross-entropy`",
            )
        )
    if len(classes) > 2 and "threshold" in given:
        problems.append(
            Problem(
                f"experiments.{name}.threshold",
                f"{experiment.threshold!r}, while {said}",
                "no threshold: a pixel gets its most probable class",
                "remove `threshold`",
            )
        )
    if len(classes) > 2 and experiment.monitor in ("val_mae", "val_max_f"):
        problems.append(
            Problem(
                f"experiments.{name}.monitor",
                f"{experiment.monitor!r}, while {said}",
                "a score of several classes: val_loss or val_dice",
                "set `monitor: val_dice`",
            )
        )
    if len(classes) > 2 and "ensemble" in given and experiment.ensemble and not experiment.keep_probability:
        problems.append(
            Problem(
                f"experiments.{name}.ensemble",
                f"true without the probabilities of the classes, while {said}",
                "`keep_probability: true`: an ensemble is the mean of probabilities, and class indices have none",
                "set `keep_probability: true`, or remove `ensemble`",
            )
        )
    if len(classes) == 2 and "keep_probability" in given and not experiment.keep_probability:
        problems.append(
            Problem(
                f"experiments.{name}.keep_probability",
                f"false, while {said}",
                "probabilities of two classes, from which threshold, scores and pictures are made",
                "remove `keep_probability`",
            )
        )
    return problems


def contradictions(datasets: Mapping[str, Dataset], experiments: Mapping[str, Experiment]) -> list[Problem]:
    """List what is right in itself and wrong together."""
    problems = []
    for name, experiment in experiments.items():
        if experiment.dataset not in datasets:
            continue
        problems += _unfit_for_classes(name, experiment, datasets[experiment.dataset].class_names())
        if not datasets[experiment.dataset].labelled:
            problems.append(
                Problem(
                    f"experiments.{name}.dataset",
                    f"{experiment.dataset!r}, a data set without masks",
                    "a data set to train on",
                    f"set datasets.{experiment.dataset}.masks to the folder of masks, or name another data set",
                )
            )
        chosen = not isinstance(experiment.threshold, float) and len(datasets[experiment.dataset].class_names()) == 2
        validated = datasets[experiment.dataset].validated or experiment.folds is not None
        if experiment.folds is not None and isinstance(datasets[experiment.dataset].validation, OfficialSplit):
            problems.append(
                Problem(
                    f"experiments.{name}.folds",
                    f"{experiment.folds}, while {experiment.dataset!r} has official validation samples",
                    "validation samples that are drawn: folds put them among the training samples",
                    f"set datasets.{experiment.dataset}.validation to {{fraction: 0.2}}, or remove `folds`",
                )
            )
        if chosen and not validated:
            problems.append(
                Problem(
                    f"experiments.{name}.threshold",
                    "one chosen on validation samples, while its data set has none",
                    "a number such as 0.5, or validation samples",
                    f"set `threshold: 0.5`, or datasets.{experiment.dataset}.validation.fraction above 0",
                )
            )
        needing = {
            "monitor": experiment.monitor != "val_loss",
            "schedule": experiment.schedule.name == "plateau",
            "early_stopping": experiment.early_stopping is not None,
        }
        if not validated:
            problems += [
                Problem(
                    f"experiments.{name}.{key}",
                    "what only validation samples can tell, while its data set has none",
                    "validation samples",
                    f"remove `{key}`, or give datasets.{experiment.dataset} validation samples",
                )
                for key, needs in needing.items()
                if needs
            ]
        if isinstance(experiment.schedule, Cosine) and experiment.schedule.warmup >= experiment.epochs:
            problems.append(
                Problem(
                    f"experiments.{name}.schedule.warmup",
                    f"{experiment.schedule.warmup:g} of {experiment.epochs} epochs",
                    "a warm-up that is shorter than the training",
                    "shorten it",
                )
            )
        size = datasets[experiment.dataset].size
        if experiment.crop and size != "native" and (experiment.crop[0] > size[0] or experiment.crop[1] > size[1]):
            problems.append(
                Problem(
                    f"experiments.{name}.crop",
                    f"{list(experiment.crop)}, while the data set has the size {list(size)}",
                    "a crop that fits into the samples (height, width)",
                    f"make it smaller, or datasets.{experiment.dataset}.size larger",
                )
            )
    for name, dataset in datasets.items():
        problems += dataset.problems(f"datasets.{name}")
    return problems
