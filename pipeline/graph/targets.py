"""The results of each Snakemake target, for one experiment or for all."""

from collections.abc import Callable, Collection

from pipeline.evaluation import methods
from pipeline.graph import artifacts
from pipeline.graph.base import Artifact
from pipeline.graph.study import Study
from pipeline.raw.splits.names import SPLITS, UNLABELLED


def shards(study: Study, dataset: str) -> list[Artifact]:
    """Return all shards of a data set."""
    members = study.raw(dataset).shard_members
    return [artifacts.Shard(dataset, split, number) for split in SPLITS for number in members(split)]


def _shards(study: Study, name: str) -> list[Artifact]:
    """Return the shards of the data set of an experiment."""
    return shards(study, study.dataset_of(name))


def _models(study: Study, name: str) -> list[Artifact]:
    """Return the checkpoint, curves and augmented samples of an experiment; an ensemble has none."""
    return (
        [kind(name) for kind in (artifacts.Checkpoint, artifacts.Curves, artifacts.Augmented)]
        if name in study.experiments
        else []
    )


def _events(study: Study, name: str) -> list[Artifact]:
    """Return the TensorBoard events of the training of an experiment."""
    return [artifacts.Events(name)] if name in study.experiments else []


def _predictions(study: Study, name: str) -> list[Artifact]:
    """Return predictions and renderings of an experiment, an ensemble or a baseline."""
    if not study.is_rendered(name):
        return []
    splits = study.predicted_splits(name)
    results: list[Artifact] = []
    experiment = study.experiment_of(name)
    for split in splits:
        results += [artifacts.predictions_of(study, name, split), artifacts.renderings_of(study, name, split)]
        if study.multiclass(name) and experiment is not None and experiment.keep_probability:
            results.append(artifacts.predictions_of(study, name, split, "probability"))
    challenge = study.datasets[study.dataset_of(name)].layout_options.challenge
    if UNLABELLED in splits and challenge is not None and not study.multiclass(name):
        results.append(artifacts.Submission(name))
    return results


def _metrics(study: Study, name: str) -> list[Artifact]:
    """Return the scores of an experiment, an ensemble or a baseline."""
    return [artifacts.scores_of(study, name)] if study.scored_splits(name) else []


def _bundles(study: Study, name: str) -> list[Artifact]:
    """Return the bundle of an experiment or an ensemble."""
    return [artifacts.Bundle(name)] if name in artifacts.Bundle.names(study) else []


def _report(study: Study, name: str) -> list[Artifact]:
    """Return all results of an experiment that the report shows."""
    return [result for target in (_models, _predictions, _metrics) for result in target(study, name)]


TARGETS: dict[str, Callable[[Study, str], list[Artifact]]] = {
    "shards": _shards,
    "models": _models,
    "predictions": _predictions,
    "metrics": _metrics,
    "report": _report,
    "tensorboard": _events,
    "bundles": _bundles,
}


def target_results(study: Study, target: str, name: str) -> list[Artifact]:
    """Return the results of a target for an experiment, or for all its runs and their ensemble."""
    ensemble = methods.ensemble_name(name)
    entries = [*study.runs.get(name, [name]), *([ensemble] if ensemble in study.ensembles else [])]
    results = [result for entry in entries for result in TARGETS[target](study, entry)]
    averages = (
        [average for average in artifacts.averages_of(study) if average.experiment == name]
        if target in ("metrics", "report")
        else []
    )
    return list(dict.fromkeys([*results, *averages]))


def results_of_target(study: Study, target: str) -> list[Artifact]:
    """Return the results of a target for all data sets and experiments."""
    if target == "shards":
        tables = [artifacts.SplitTable(name) for name in study.datasets]
        return [*(shard for name in study.datasets for shard in shards(study, name)), *tables]
    names = study.experiments if target in ("models", "tensorboard") else study.predicted_methods()
    results = [result for name in names for result in TARGETS[target](study, name)]
    return [*results, *(artifacts.averages_of(study) if target == "metrics" else [])]


def all_results(study: Study, listed: Collection[str] | None = None) -> list[Artifact]:
    """Return every result of a study, also those that are made only on request.

    `listed` contains the data sets whose raw files can be listed, by default all; of the others, only split tables and
    checks are returned.
    """
    listed = study.datasets if listed is None else listed
    results: list[Artifact] = [
        kind(name) for name in study.datasets for kind in (artifacts.SplitTable, artifacts.Check)
    ]
    results += [shard for name in listed for shard in shards(study, name)]
    for name in [name for name in study.methods if study.dataset_of(name) in listed]:
        results += [result for target in TARGETS.values() for result in target(study, name)]
        results += [artifacts.predictions_of(study, name, split) for split in study.predicted_splits(name)]
        if name in study.binary_methods and study.predicted_splits(name):
            results.append(artifacts.Threshold(name))
        results += [table.artifact for table in artifacts.fold_table_of(study, name)]
    return list(
        dict.fromkeys(
            [
                *results,
                *map(artifacts.Average, study.runs),
                artifacts.Comparisons(),
                artifacts.Leaderboard(),
                artifacts.Report(),
            ]
        )
    )
