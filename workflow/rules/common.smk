# What the rules share: the checked configuration, the listed raw data, settings as canonical JSON.
import functools
import itertools
import json
import os
import re
import sys

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake_interface_executor_plugins.settings import DeploymentMethod

from pipeline.config import config as configuration
from pipeline.graph import plans
from pipeline.core import paths
from pipeline.core.errors import PipelineError, RawDataError
from pipeline.evaluation import entrants
from pipeline.raw.check.ignored import unused_digest
from pipeline.raw.dataset import open_leniently
from pipeline.raw.splits.folds import assign_folds, digest_folds, split_by_fold
from pipeline.raw.splits.names import OUT_OF_FOLD, SPLITS
from pipeline.graph.stages import code_digest

# In a job, `pipeline` is this package under the interpreter that runs Snakemake, wherever --directory leads; in a container,
# under the interpreter of the image. A shell with a trap outlives SIGTERM until its command has ended: else a cluster that
# stops a job takes the job for ended, and kills the training while it saves its state.
_in_container = DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method
PYTHON = "python" if _in_container else sys.executable
shell.prefix('set -euo pipefail; trap : TERM; pipeline() {{ {PYTHON:q} -m pipeline "$@"; }}; ')

try:
    CONFIG = configuration.parse(config)
except PipelineError as error:
    raise WorkflowError(str(error)) from None

BASELINES = CONFIG.baselines()

# experiments of several seeds or folds, each with its runs; a run is an experiment like any other
SEEDED = CONFIG.seeded()
# the mean of the runs, scored beside them
ENSEMBLES = CONFIG.ensembles()

# experiments and ensembles of two classes have probabilities and a threshold, those of several classes have class indices
SEVERAL_CLASSES = [name for name in (*CONFIG.experiments, *ENSEMBLES) if CONFIG.multiclass(name)]
TWO_CLASSES = [name for name in (*CONFIG.experiments, *ENSEMBLES) if name not in SEVERAL_CLASSES]

MASK = str(paths.prediction("{experiment}", "{split}") / "mask")
PROBABILITY = str(paths.prediction("{experiment}", "{split}") / "probability")
# of an ensemble; one of two classes has no mask here, but from `render`
_OF_ENSEMBLE = paths.prediction(entrants.ensemble_name("{seeded}"), "{split}")
ENSEMBLE_PROBABILITY, ENSEMBLE_MASK = str(_OF_ENSEMBLE / "probability"), str(_OF_ENSEMBLE / "mask")
BASELINE = str(paths.prediction(entrants.baseline_name("{dataset}", "{kind}"), "{split}") / "probability")


def any_of(names):
    return "|".join(map(re.escape, names)) or "(?!)"


def networks(names):
    # without ensembles, which no network predicts
    return any_of(name for name in names if name in CONFIG.experiments)


wildcard_constraints:
    dataset=any_of(CONFIG.datasets),
    experiment=any_of([*CONFIG.experiments, *ENSEMBLES, *BASELINES]),
    seeded=any_of(SEEDED),
    split=any_of([*SPLITS, OUT_OF_FOLD]),
    folds=r"\d+",
    kind=any_of(entrants.BASELINES),
    shard=r"\d+",


def canonical(settings):
    # one spelling for one meaning: key order must not rerun anything
    return json.dumps(settings, sort_keys=True)


def code_of(stage, settings):
    # Snakemake does not see an edited module: this changes with the code that a job runs
    return code_digest({"stage": stage, "settings": settings})


@functools.cache
def opened(name):
    return open_leniently(name, **CONFIG.splits_settings(name)["source"])


def raw_dataset(name):
    if opened(name).problems:
        raise RawDataError(opened(name).problems)
    return opened(name).dataset


def raw_datasets():
    # lists all data sets, and reports what is wrong with any of them at once
    listed, problems = {}, []
    for name in CONFIG.datasets:
        try:
            listed[name] = raw_dataset(name)
        except PipelineError as error:
            problems += error.problems
    if problems:
        raise WorkflowError(str(RawDataError(problems)))
    return listed


def listed(name):
    try:
        return raw_dataset(name)
    except PipelineError as error:
        raise WorkflowError(str(error)) from None


@functools.cache
def fold_members(dataset, folds):
    settings = CONFIG.fold_settings(dataset, folds)
    drawing = {key: value for key, value in settings.items() if key != "source"}
    try:
        return assign_folds(listed(dataset), **drawing, cache=settings["source"].get("cache"))
    except PipelineError as error:
        raise WorkflowError(str(error)) from None


@functools.cache
def splits_of(experiment):
    # samples by split as an experiment sees them: a fold has other training and validation samples than its data set
    name, fold = CONFIG.dataset_of(experiment), CONFIG.fold_of(experiment)
    if fold is not None:
        return split_by_fold(listed(name), fold_members(name, fold["folds"]), fold["fold"])
    return {**listed(name).splits, OUT_OF_FOLD: listed(name).pool}


def shard_files(dataset, split):
    return [str(paths.shard(dataset, split, k)) for k in listed(dataset).shard_members(split)]


def raw_files(experiment, *splits, files="files"):
    return [path for split in splits for sample in splits_of(experiment)[split] for path in getattr(sample, files)]


def unique(files):
    return list(dict.fromkeys(files))


def observed(experiment):
    return entrants.split_name(experiment)[1] == entrants.OBSERVER


def scored_splits(experiment):
    splits = splits_of(experiment)
    if experiment in BASELINES:
        seen = not observed(experiment) or all(sample.observer for sample in splits["test"])
        return ["test"] if splits["test"] and seen else []
    return [split for split in (CONFIG.validated_on(experiment), "test") if splits[split]]


def predicted_splits(experiment):
    unlabelled = experiment not in BASELINES and splits_of(experiment)["unlabelled"]
    return [*scored_splits(experiment), *(["unlabelled"] if unlabelled else [])]


@functools.cache
def scored_names():
    # everything that is scored: experiments, ensembles, and baselines where there is something to compare
    raw_datasets()
    for name in CONFIG.experiments:
        if not scored_splits(name):
            logger.warning(f"{name} has neither validation nor test samples: it is trained and not scored.")
    for name in CONFIG.without_ensemble():
        logger.warning(
            f"{name} has no ensemble: class indices have no mean. Set `keep_probability` or `ensemble: false`."
        )
    return [name for name in (*CONFIG.experiments, *ENSEMBLES, *BASELINES) if predicted_splits(name)]


def baseline_files(wildcards):
    files = "observer_files" if wildcards.kind == entrants.OBSERVER else "truth_files"
    baseline = entrants.baseline_name(wildcards.dataset, wildcards.kind)
    return unique(raw_files(baseline, wildcards.split, files=files))


def pictured_files(wildcards):
    # what pictures of a split are drawn from, predictions apart
    experiment, split = wildcards.experiment, wildcards.split
    return unique(raw_files(experiment, split) + raw_files(experiment, split, files="truth_files"))


def scored_masks(wildcards):
    splits = scored_splits(wildcards.experiment)
    return unique(raw_files(wildcards.experiment, *splits, files="truth_files"))


def scored(kind):
    # folders of predictions ...
    return lambda wc: expand(kind, experiment=wc.experiment, split=scored_splits(wc.experiment))


def scored_words(kind):
    # ... and how the command line names them
    named = f"{{split}}={kind}"
    return lambda wc: expand(named, experiment=wc.experiment, split=scored_splits(wc.experiment))


def scoring_parts(wildcards):
    # what scores are made from, for the job to refuse anything else
    return canonical(plans.scoring_parts(CONFIG, wildcards.experiment, scored_splits(wildcards.experiment)))


def split_parts(wildcards):
    # ... and pictures of one split
    return canonical(plans.scoring_parts(CONFIG, wildcards.experiment, [wildcards.split]))


def predicted_code(kind):
    return lambda wc: code_digest(plans.prediction(CONFIG, wc.experiment, wc.split, kind))


def predicted_parts(wildcards):
    # ... and predictions
    return canonical(plans.prediction_parts(CONFIG, wildcards.experiment, wildcards.split))


def folder_of(wildcards, output):
    return os.path.dirname(output[0])


def labelled(figure):
    # labels in Snakemake's report: the same columns for all figures of a kind, and no two figures with the same labels
    def labels(wildcards):
        name = wildcards.get("experiment") or wildcards.get("seeded")
        dataset = wildcards.get("dataset") or CONFIG.dataset_of(SEEDED.get(name, [name])[0])
        told = {"data set": dataset, "experiment": name, "split": wildcards.get("split"), "figure": figure}
        return {key: word for key, word in told.items() if word is not None}

    return labels


def origin_note(dataset):
    return "drawn sample data" if listed(dataset).drawn else ""
