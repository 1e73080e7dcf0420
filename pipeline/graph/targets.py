"""What can be asked for: the results of each target, for one experiment or for all."""

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
    """Return the network of an experiment and what shows its training; an ensemble has none."""
    return (
        [kind(name) for kind in (artifacts.Checkpoint, artifacts.Curves, artifacts.Augmented)]
        if name in study.experiments
        else []
    )


def _events(study: Study, name: str) -> list[Artifact]:
    """Return the history of a training for TensorBoard."""
    return [artifacts.Events(name)] if name in study.experiments else []


def _predictions(study: Study, name: str) -> list[Artifact]:
    """Return predictions and images of an experiment, an ensemble or a baseline, for people to look at."""
    if not study.is_shown(name):
        return []
    splits = study.predicted_splits(name)
    made: list[Artifact] = []
    for split in splits:
        made += [artifacts.predictions_of(study, name, split), artifacts.renderings_of(study, name, split)]
        said = study.recipe_of(name)
        if study.multiclass(name) and said is not None and said.keep_probability:
            made.append(artifacts.predictions_of(study, name, split, "probability"))
    challenge = study.datasets[study.dataset_of(name)].files.challenge
    if UNLABELLED in splits and challenge is not None and not study.multiclass(name):
        made.append(artifacts.Submission(name))
    return made


def _metrics(study: Study, name: str) -> list[Artifact]:
    """Return the scores of an experiment, an ensemble or a baseline."""
    return [artifacts.scores_of(study, name)] if study.scored_splits(name) else []


def _report(study: Study, name: str) -> list[Artifact]:
    """Return all that the page tells of an experiment."""
    return [made for parts in (_models, _predictions, _metrics) for made in parts(study, name)]


TARGETS: dict[str, Callable[[Study, str], list[Artifact]]] = {
    "shards": _shards,
    "models": _models,
    "predictions": _predictions,
    "metrics": _metrics,
    "report": _report,
    "tensorboard": _events,
}


def targeted(study: Study, target: str, name: str) -> list[Artifact]:
    """Return what a target consists of for an experiment, or for all runs of an experiment and their ensemble."""
    ensemble = methods.ensemble_name(name)
    entries = [*study.seeded.get(name, [name]), *([ensemble] if ensemble in study.ensembles else [])]
    made = [one for entry in entries for one in TARGETS[target](study, entry)]
    averages = (
        [one for one in artifacts.averages_of(study) if one.experiment == name]
        if target in ("metrics", "report")
        else []
    )
    return list(dict.fromkeys([*made, *averages]))


def of_all(study: Study, target: str) -> list[Artifact]:
    """Return what a target consists of for everything that there is."""
    if target == "shards":
        tables = [artifacts.SplitTable(name) for name in study.datasets]
        return [*(one for name in study.datasets for one in shards(study, name)), *tables]
    names = study.experiments if target in ("models", "tensorboard") else study.predicted()
    made = [one for name in names for one in TARGETS[target](study, name)]
    return [*made, *(artifacts.averages_of(study) if target == "metrics" else [])]


def everything(study: Study, listed: Collection[str] | None = None) -> list[Artifact]:
    """Return every result that a study can lead to, also what is only made when asked for.

    Of data sets that are not among those `listed` there are only tables and checks; without it all have to be listed.
    """
    known = study.datasets if listed is None else listed
    made: list[Artifact] = [kind(name) for name in study.datasets for kind in (artifacts.SplitTable, artifacts.Check)]
    made += [one for name in known for one in shards(study, name)]
    for name in [name for name in study.names if study.dataset_of(name) in known]:
        made += [one for results in TARGETS.values() for one in results(study, name)]
        made += [artifacts.predictions_of(study, name, split) for split in study.predicted_splits(name)]
        if name in study.two_classes and study.predicted_splits(name):
            made.append(artifacts.Threshold(name))
        made += [one.artifact for one in artifacts.fold_table_of(study, name)]
    return list(
        dict.fromkeys(
            [
                *made,
                *map(artifacts.Average, study.seeded),
                artifacts.Comparisons(),
                artifacts.Leaderboard(),
                artifacts.Report(),
            ]
        )
    )
