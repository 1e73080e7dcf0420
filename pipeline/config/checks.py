"""What a configuration says that is right in itself and does not fit together."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.config.datasets import Dataset
from pipeline.config.experiments import Experiment
from pipeline.core.errors import Problem
from pipeline.core.options import NAME
from pipeline.raw.splits.rules import OfficialSplit
from pipeline.training.recipes import SOFTMAX_LOSSES, Cosine


def bad_names(data: Mapping[str, Any]) -> Iterator[Problem]:
    """List names that cannot become paths, or that are one path on some file systems."""
    for section in ("datasets", "experiments"):
        seen: dict[str, str] = {}
        for name in data.get(section) or {} if isinstance(data.get(section), Mapping) else ():
            if not NAME.fullmatch(name):
                yield Problem(
                    section,
                    f"the name {name!r}, which cannot become a path",
                    "letters, digits, '-' and '_', at most 64, the first a letter or digit",
                    "choose another name",
                )
            twin = seen.setdefault(name.lower(), name)
            if twin != name:
                yield Problem(
                    section,
                    f"the names {twin!r} and {name!r}",
                    "names that differ by more than upper and lower case (one file on some file systems)",
                    "rename one of them",
                )


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


def _unfit_for_classes(where: str, experiment: Experiment, classes: Sequence[str]) -> Iterator[Problem]:
    """List what an experiment says that does not fit the number of its classes."""
    said = f"its data set has {len(classes)} classes ({', '.join(classes)})"
    given = experiment.model_fields_set
    if len(classes) > 2 and experiment.loss.name not in SOFTMAX_LOSSES:
        yield Problem(
            f"{where}.loss",
            f"{experiment.loss.name!r}, while {said}",
            f"a loss with a channel for each class: {', '.join(sorted(SOFTMAX_LOSSES))}",
            "set `loss: cross-entropy`",
        )
    if len(classes) > 2 and "threshold" in given:
        yield Problem(
            f"{where}.threshold",
            f"{experiment.threshold!r}, while {said}",
            "no threshold: a pixel gets its most probable class",
            "remove `threshold`",
        )
    if len(classes) > 2 and experiment.monitor in ("val_mae", "val_max_f"):
        yield Problem(
            f"{where}.monitor",
            f"{experiment.monitor!r}, while {said}",
            "a score of several classes: val_loss or val_dice",
            "set `monitor: val_dice`",
        )
    if len(classes) > 2 and "ensemble" in given and experiment.ensemble and not experiment.keep_probability:
        yield Problem(
            f"{where}.ensemble",
            f"true without the probabilities of the classes, while {said}",
            "`keep_probability: true`: an ensemble is the mean of probabilities, and class indices have none",
            "set `keep_probability: true`, or remove `ensemble`",
        )
    if len(classes) == 2 and "keep_probability" in given and not experiment.keep_probability:
        yield Problem(
            f"{where}.keep_probability",
            f"false, while {said}",
            "probabilities of two classes, from which threshold, scores and images are made",
            "remove `keep_probability`",
        )


def contradictions(datasets: Mapping[str, Dataset], experiments: Mapping[str, Experiment]) -> Iterator[Problem]:
    """List what is right in itself and wrong together."""
    for name, experiment in experiments.items():
        if (dataset := datasets.get(experiment.dataset)) is not None:
            where = f"experiments.{name}"
            yield from _unfit_for_classes(where, experiment, dataset.files.class_names())
            yield from _without_samples(where, experiment, dataset)
            yield from _unfit_sizes(where, experiment, dataset)
    for name, dataset in datasets.items():
        yield from dataset.contradictions(f"datasets.{name}")


def _without_samples(where: str, experiment: Experiment, dataset: Dataset) -> Iterator[Problem]:
    """List what an experiment asks of samples that its data set does not have."""
    named = experiment.dataset
    if not dataset.files.labelled:
        yield Problem(
            f"{where}.dataset",
            f"{named!r}, a data set without masks",
            "a data set to train on",
            f"set datasets.{named}.masks to the folder of masks, or name another data set",
        )
    if experiment.folds is not None and isinstance(dataset.validation, OfficialSplit):
        yield Problem(
            f"{where}.folds",
            f"{experiment.folds}, while {named!r} has official validation samples",
            "validation samples that are drawn: folds put them among the training samples",
            f"set datasets.{named}.validation to {{fraction: 0.2}}, or remove `folds`",
        )
    if dataset.validated or experiment.folds is not None:
        return
    if not isinstance(experiment.threshold, float) and not dataset.multiclass:
        yield Problem(
            f"{where}.threshold",
            "one chosen on validation samples, while its data set has none",
            "a number such as 0.5, or validation samples",
            f"set `threshold: 0.5`, or datasets.{named}.validation.fraction above 0",
        )
    needing = {
        "monitor": experiment.monitor != "val_loss",
        "schedule": experiment.schedule.name == "plateau",
        "early_stopping": experiment.early_stopping is not None,
    }
    for key, needs in needing.items():
        if needs:
            yield Problem(
                f"{where}.{key}",
                "what only validation samples can tell, while its data set has none",
                "validation samples",
                f"remove `{key}`, or give datasets.{named} validation samples",
            )


def _unfit_sizes(where: str, experiment: Experiment, dataset: Dataset) -> Iterator[Problem]:
    """List a warm-up longer than the training, and a crop larger than the samples."""
    schedule, crop, size = experiment.schedule, experiment.crop, dataset.fixed_size
    if isinstance(schedule, Cosine) and schedule.warmup >= experiment.epochs:
        yield Problem(
            f"{where}.schedule.warmup",
            f"{schedule.warmup:g} of {experiment.epochs} epochs",
            "a warm-up that is shorter than the training",
            "shorten it",
        )
    if crop is not None and size is not None and (crop[0] > size[0] or crop[1] > size[1]):
        yield Problem(
            f"{where}.crop",
            f"{list(crop)}, while the data set has the size {list(size)}",
            "a crop that fits into the samples (height, width)",
            f"make it smaller, or datasets.{experiment.dataset}.size larger",
        )
