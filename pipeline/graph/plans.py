"""What each result is to be made by, all the way down: from the configuration to plans for `pipeline.graph.stages`.

A plan is plain JSON: ``stage``, ``settings`` and, for each part that the result is made from, that part's own plan.
"""

from collections.abc import Iterable
from typing import Any

from pipeline.config.config import Config
from pipeline.evaluation.entrants import ENSEMBLE, split_name
from pipeline.graph.stages import without_members
from pipeline.raw.splits.names import OUT_OF_FOLD, VALIDATION

Plan = dict[str, Any]


def shards(config: Config, dataset: str, split: str) -> Plan:
    """Plan the shards of a split; raw files and exclusions are each shard's own and no part of it."""
    settings = without_members(config.shard_settings(dataset, split))
    return {"stage": "shard", "settings": {"dataset": dataset, "split": split, **settings}}


def folds(config: Config, dataset: str, number: int) -> Plan:
    """Plan the table of folds of a data set, of which there are `number`."""
    settings = without_members(config.fold_settings(dataset, number))
    return {"stage": "folds", "settings": {"dataset": dataset, **settings}}


def _pool(config: Config, experiment: str, number: int) -> dict[str, Plan]:
    """Plan what a fold is taken out of: all shards that folds are parts of, and the table of folds."""
    dataset = config.dataset_of(experiment)
    parts = {f"{split} shards": shards(config, dataset, split) for split in ("train", "validation")}
    return {**parts, "folds": folds(config, dataset, number)}


def checkpoint(config: Config, experiment: str) -> Plan:
    """Plan a training."""
    parts = training_parts(config, experiment)
    return {"stage": "train", "settings": config.train_settings(experiment), "made_from": parts}


def training_parts(config: Config, experiment: str) -> dict[str, Plan]:
    """Plan what a training is made from."""
    if (fold := config.fold_of(experiment)) is not None:
        return _pool(config, experiment, fold["folds"])
    dataset = config.dataset_of(experiment)
    return {f"{split} shards": shards(config, dataset, split) for split in ("train", "validation")}


def augmented_parts(config: Config, experiment: str) -> dict[str, Plan]:
    """Plan what the picture of augmented samples is made from."""
    if (fold := config.fold_of(experiment)) is not None:
        return _pool(config, experiment, fold["folds"])
    return {"train shards": shards(config, config.dataset_of(experiment), "train")}


def prediction(config: Config, experiment: str, split: str, kind: str) -> Plan:
    """Plan the predictions of a split, an experiment's, an ensemble's or a baseline's."""
    if split_name(experiment)[1] == ENSEMBLE:
        settings = {"kind": kind, **config.ensemble_settings(experiment, split)}
        return {"stage": "ensemble", "settings": settings, "made_from": ensemble_parts(config, experiment, split)}
    if experiment not in config.experiments:
        dataset, name = split_name(experiment)
        settings = config.baseline_settings(dataset, name, split)
        return {"stage": "baseline", "settings": {"dataset": dataset, "split": split, "kind": name, **settings}}
    settings = {"split": split, "kind": kind, **config.predict_settings(experiment, split)}
    return {"stage": "predict", "settings": settings, "made_from": prediction_parts(config, experiment, split)}


def prediction_parts(config: Config, experiment: str, split: str) -> dict[str, Plan]:
    """Plan what predictions are made from."""
    network = {"checkpoint": checkpoint(config, experiment)}
    if split == VALIDATION and (fold := config.fold_of(experiment)) is not None:
        return {**network, **_pool(config, experiment, fold["folds"])}
    return {**network, "shards": shards(config, config.dataset_of(experiment), split)}


def ensemble_parts(config: Config, ensemble: str, split: str) -> dict[str, Plan]:
    """Plan what an ensemble is made from.

    Runs differ in seed and fold alone, which the settings of the ensemble say of each. So the plan of the first stands
    for all, else it would be too long for a command; `pipeline.cli.origin.of_run` makes those of the others from it.
    """
    runs = config.ensembles()[ensemble]
    if split != OUT_OF_FOLD:
        return {"predictions": prediction(config, min(runs), split, "probability")}
    parts = {"predictions": prediction(config, min(runs), VALIDATION, "probability")}
    fold = config.fold_of(min(runs))
    return parts if fold is None else {**parts, "folds": folds(config, config.dataset_of(ensemble), fold["folds"])}


def threshold(config: Config, experiment: str) -> Plan:
    """Plan a threshold."""
    parts = threshold_parts(config, experiment)
    return {"stage": "threshold", "settings": config.threshold_settings(experiment), "made_from": parts}


def threshold_parts(config: Config, experiment: str) -> dict[str, Plan]:
    """Plan what a threshold is chosen on: nothing where it is fixed."""
    if config.threshold_settings(experiment)["fixed"] is not None:
        return {}
    split = config.validated_on(experiment)
    return {f"{split} predictions": prediction(config, experiment, split, "probability")}


def scoring_parts(config: Config, experiment: str, splits: Iterable[str]) -> dict[str, Plan]:
    """Plan what scores, pictures and submissions are made from: predictions, and of two classes a threshold."""
    kind = "mask" if config.multiclass(experiment) else "probability"
    parts = {f"{split} predictions": prediction(config, experiment, split, kind) for split in splits}
    return parts if config.multiclass(experiment) else {**parts, "threshold": threshold(config, experiment)}
