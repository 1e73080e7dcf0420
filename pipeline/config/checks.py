"""Checks across the settings of a configuration: values that are valid alone but not in combination."""

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.config.datasets import Dataset
from pipeline.config.experiments import Experiment
from pipeline.core.errors import Problem
from pipeline.core.options import NAME
from pipeline.raw.splits.rules import OfficialSplit
from pipeline.training.recipes import SOFTMAX_LOSSES, Cosine


def bad_names(data: Mapping[str, Any]) -> Iterator[Problem]:
    """List names that are not valid in paths, or that differ only in case: one path on some file systems."""
    for section in ("datasets", "experiments"):
        first_spelling: dict[str, str] = {}
        for name in data.get(section) or {} if isinstance(data.get(section), Mapping) else ():
            if not NAME.fullmatch(name):
                yield Problem(
                    section,
                    f"the name {name!r}, which is not allowed in paths",
                    "at most 64 letters, digits, '-' and '_'; the first one a letter or digit",
                    "choose another name",
                )
            other_name = first_spelling.setdefault(name.lower(), name)
            if other_name != name:
                yield Problem(
                    section,
                    f"the names {other_name!r} and {name!r}",
                    "names that differ by more than upper and lower case (one file on some file systems)",
                    "rename one of them",
                )


def unknown_datasets(data: Mapping[str, Any]) -> list[Problem]:
    """List experiments whose data set is not configured."""
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
        if isinstance(experiment, Mapping)
        and isinstance(experiment.get("dataset"), str)
        and experiment["dataset"] not in datasets
    ]


def _encoder_problems(key_path: str, experiment: Experiment, dataset: Dataset) -> Iterator[Problem]:
    """List a normalization other than the one that a network with an image model as encoder expects."""
    if experiment.model.name == "unet-encoder" and dataset.normalize.method not in ("unit", "minmax"):
        yield Problem(
            f"{key_path}.model",
            f"unet-encoder, while {experiment.dataset!r} has `normalize: {dataset.normalize.method}`",
            "images in [0, 1]: the network itself normalizes them for its encoder",
            f"set `normalize: unit` in datasets.{experiment.dataset}",
        )


def _class_problems(key_path: str, experiment: Experiment, dataset: Dataset) -> Iterator[Problem]:
    """List settings of an experiment that do not fit the classes of its data set."""
    classes = dataset.layout_options.class_names()
    reason = f"its data set has {len(classes)} classes ({', '.join(classes)})"
    set_keys = experiment.model_fields_set
    if len(classes) > 2 and experiment.loss.name not in SOFTMAX_LOSSES:
        yield Problem(
            f"{key_path}.loss",
            f"{experiment.loss.name!r}, while {reason}",
            f"a loss with an output channel for each class: {', '.join(sorted(SOFTMAX_LOSSES))}",
            "set `loss: cross-entropy`",
        )
    if len(classes) > 2 and "threshold" in set_keys:
        yield Problem(
            f"{key_path}.threshold",
            f"{experiment.threshold!r}, while {reason}",
            "no threshold: each pixel gets its most probable class",
            "remove `threshold`",
        )
    if len(classes) > 2 and experiment.monitor in ("val_mae", "val_max_f"):
        yield Problem(
            f"{key_path}.monitor",
            f"{experiment.monitor!r}, while {reason}",
            "a multi-class score: val_loss or val_dice",
            "set `monitor: val_dice`",
        )
    if experiment.loss.border is not None and not dataset.layout_options.has_background:
        yield Problem(
            f"{key_path}.loss.border",
            "a weight for background between objects, while its data set has `background: none`",
            "a data set with a background class",
            "remove `border`",
        )
    if len(classes) > 2 and "ensemble" in set_keys and experiment.ensemble and not experiment.keep_probability:
        yield Problem(
            f"{key_path}.ensemble",
            f"true without stored probabilities, while {reason}",
            "`keep_probability: true`: an ensemble is the mean of probabilities; class indices cannot be averaged",
            "set `keep_probability: true`, or remove `ensemble`",
        )
    if len(classes) == 2 and "keep_probability" in set_keys and not experiment.keep_probability:
        yield Problem(
            f"{key_path}.keep_probability",
            f"false, while {reason}",
            "stored probabilities: with two classes, threshold, scores and renderings are made from them",
            "remove `keep_probability`",
        )


def contradictions(datasets: Mapping[str, Dataset], experiments: Mapping[str, Experiment]) -> Iterator[Problem]:
    """List values that are valid alone but not in combination."""
    for name, experiment in experiments.items():
        if (dataset := datasets.get(experiment.dataset)) is not None:
            key_path = f"experiments.{name}"
            yield from _class_problems(key_path, experiment, dataset)
            yield from _sample_problems(key_path, experiment, dataset)
            yield from _size_problems(key_path, experiment, dataset)
            yield from _encoder_problems(key_path, experiment, dataset)
            yield from _fixed_size_problems(key_path, experiment, dataset)
    for name, dataset in datasets.items():
        yield from dataset.contradictions(f"datasets.{name}")


def _sample_problems(key_path: str, experiment: Experiment, dataset: Dataset) -> Iterator[Problem]:
    """List settings of an experiment that need masks or validation samples that its data set does not have."""
    dataset_name = experiment.dataset
    if not dataset.layout_options.labelled:
        yield Problem(
            f"{key_path}.dataset",
            f"{dataset_name!r}, a data set without masks",
            "a data set with masks for training",
            f"set datasets.{dataset_name}.masks to the folder of masks, or use another data set",
        )
    if dataset.nodata == "ignore" and dataset.mask_kind == "soft" and experiment.loss.region == "full":
        yield Problem(
            f"{key_path}.loss.region",
            f"'full', while {dataset_name!r} has soft masks, which have no value for its ignored NoData pixels",
            "a loss inside the field of view, which leaves out these pixels",
            "set `region: fov`",
        )
    if experiment.folds is not None and isinstance(dataset.validation, OfficialSplit):
        yield Problem(
            f"{key_path}.folds",
            f"{experiment.folds}, while {dataset_name!r} has official validation samples",
            "validation samples selected at random: folds would train on the official ones",
            f"set datasets.{dataset_name}.validation to {{fraction: 0.2}}, or remove `folds`",
        )
    if dataset.has_validation or experiment.folds is not None:
        return
    if not isinstance(experiment.threshold, float) and not dataset.multiclass:
        yield Problem(
            f"{key_path}.threshold",
            "a threshold chosen on validation samples, while its data set has none",
            "a number such as 0.5, or validation samples",
            f"set `threshold: 0.5`, or datasets.{dataset_name}.validation.fraction above 0",
        )
    needs_validation = {
        "monitor": experiment.monitor != "val_loss",
        "schedule": experiment.schedule.name == "plateau",
        "stages": any(
            stage.schedule is not None and stage.schedule.name == "plateau" for stage in experiment.stages or ()
        ),
        "early_stopping": experiment.early_stopping is not None,
    }
    for key, is_needed in needs_validation.items():
        if is_needed:
            yield Problem(
                f"{key_path}.{key}",
                "a setting that needs validation samples, while its data set has none",
                "validation samples",
                f"remove `{key}`, or add validation samples to datasets.{dataset_name}",
            )


def _size_problems(key_path: str, experiment: Experiment, dataset: Dataset) -> Iterator[Problem]:
    """List a warm-up that is not shorter than the training, and a crop larger than the samples."""
    crop, size = experiment.crop, dataset.fixed_size
    for number, settings in enumerate(experiment.in_stages(), start=1):
        schedule = settings.schedule
        if isinstance(schedule, Cosine) and schedule.warmup >= settings.epochs:
            whole = "the training" if number == 1 else f"stage {number}, which has this schedule too"
            yield Problem(
                f"{key_path}.schedule.warmup" if number == 1 else f"{key_path}.stages",
                f"{schedule.warmup:g} of {settings.epochs} epochs",
                f"a warm-up shorter than {whole}",
                "shorten it" if number == 1 else "give the stage a `schedule` of its own",
            )
    if crop is not None and size is not None and (crop[0] > size[0] or crop[1] > size[1]):
        yield Problem(
            f"{key_path}.crop",
            f"{list(crop)}, while the data set has the size {list(size)}",
            "a crop that fits into the samples [height, width]",
            f"reduce it, or increase datasets.{experiment.dataset}.size",
        )


def _fixed_size_problems(key_path: str, experiment: Experiment, dataset: Dataset) -> Iterator[Problem]:
    """List settings with which a network of one size would predict images of another size than it was trained on."""
    size, crop = dataset.fixed_size, experiment.crop
    if not experiment.model.fixed_size:
        return
    name, remedy = experiment.model.name, f"set `model: {{name: {experiment.model.name}, padding: mirror}}`"
    expected = "training and prediction at one size: the network stretches its output, which is aligned for no other"
    if experiment.tiles is not None:
        found = f"tiles, with the model {name}"
        yield Problem(f"{key_path}.tiles", found, expected, f"remove `tiles`, or {remedy}")
    if crop is not None and crop != size:
        found = f"{list(crop)}, with the model {name} and the size {dataset.size if size is None else list(size)}"
        yield Problem(f"{key_path}.crop", found, expected, f"remove `crop`, or {remedy}")
    if experiment.test_time == "rot90" and size is not None and size[0] != size[1]:
        found = f"rot90, with the model {name} and the size {list(size)}"
        yield Problem(f"{key_path}.test_time", found, expected, f"set `test_time: flips`, or {remedy}")
