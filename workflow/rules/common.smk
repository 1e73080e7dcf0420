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

from pipeline import config as configuration
from pipeline import config_plans as plans
from pipeline import paths
from pipeline.errors import PipelineError, RawDataError
from pipeline.evaluation import entrants
from pipeline.raw.check_ignored import unused_digest
from pipeline.raw.dataset import open_leniently
from pipeline.raw.splits import SPLITS
from pipeline.stages import code_digest

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
# experiments of two classes have probabilities and a threshold, those of several classes have class indices
SEVERAL_CLASSES = [name for name in CONFIG.experiments if CONFIG.multiclass(name)]
TWO_CLASSES = [name for name in CONFIG.experiments if name not in SEVERAL_CLASSES]

# experiments of several seeds, each with its runs; a run is an experiment like any other
SEEDED = CONFIG.seeded()

MASK = str(paths.prediction("{experiment}", "{split}") / "mask")
PROBABILITY = str(paths.prediction("{experiment}", "{split}") / "probability")
BASELINE = str(paths.prediction(entrants.baseline_name("{dataset}", "{kind}"), "{split}") / "probability")


def any_of(names):
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    dataset=any_of(CONFIG.datasets),
    experiment=any_of([*CONFIG.experiments, *BASELINES]),
    seeded=any_of(SEEDED),
    split=any_of(SPLITS),
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


def shard_files(dataset, split):
    return [str(paths.shard(dataset, split, k)) for k in listed(dataset).shard_members(split)]


def raw_files(dataset, *splits, files="files"):
    return [path for split in splits for sample in listed(dataset).splits[split] for path in getattr(sample, files)]


def unique(files):
    return list(dict.fromkeys(files))


def observed(experiment):
    return entrants.split_name(experiment)[1] == entrants.OBSERVER


def scored_splits(experiment):
    splits = listed(CONFIG.dataset_of(experiment)).splits
    if experiment in BASELINES:
        seen = not observed(experiment) or all(sample.observer for sample in splits["test"])
        return ["test"] if splits["test"] and seen else []
    return [split for split in ("validation", "test") if splits[split]]


def predicted_splits(experiment):
    unlabelled = experiment not in BASELINES and listed(CONFIG.dataset_of(experiment)).splits["unlabelled"]
    return [*scored_splits(experiment), *(["unlabelled"] if unlabelled else [])]


@functools.cache
def scored_names():
    # everything that is scored: experiments, and baselines where there is something to compare
    raw_datasets()
    for name in CONFIG.experiments:
        if not scored_splits(name):
            logger.warning(f"{name} has neither validation nor test samples: it is trained and not scored.")
    return [name for name in (*CONFIG.experiments, *BASELINES) if predicted_splits(name)]


def baseline_files(wildcards):
    files = "observer_files" if wildcards.kind == entrants.OBSERVER else "truth_files"
    return unique(raw_files(wildcards.dataset, wildcards.split, files=files))


def pictured_files(wildcards):
    # what pictures of a split are drawn from, predictions apart
    dataset = CONFIG.dataset_of(wildcards.experiment)
    return unique(raw_files(dataset, wildcards.split) + raw_files(dataset, wildcards.split, files="truth_files"))


def scored_masks(wildcards):
    splits = scored_splits(wildcards.experiment)
    return unique(raw_files(CONFIG.dataset_of(wildcards.experiment), *splits, files="truth_files"))


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


def origin_note(dataset):
    return "drawn sample data" if listed(dataset).drawn else ""


# -- inputs of jobs -----------------------------------------------------------------------------------------------------


def shard_members(wildcards):
    members = listed(wildcards.dataset).shard_members(wildcards.split).get(int(wildcards.shard), [])
    if not members:
        raise WorkflowError(f"{wildcards.dataset} has no sample in shard {wildcards.shard} of split {wildcards.split}")
    return unique(path for sample in members for path in sample.files)


def shard_names(wildcards):
    # the cache between workflows asks for params and raw files, and sees no wildcards
    dataset, members = listed(wildcards.dataset), (wildcards.split, int(wildcards.shard))
    return canonical([wildcards.dataset, *members, dataset.origin, dataset.digest(*members)])


def shard_settings(wildcards):
    settings = CONFIG.shard_settings(wildcards.dataset, wildcards.split)
    exclude = listed(wildcards.dataset).exclusions(wildcards.split, int(wildcards.shard))
    source = {key: value for key, value in settings["source"].items() if key != "exclude"}
    return {**settings, "source": {**source, "exclude": exclude} if exclude else source}


def checked_files(wildcards):
    # what can be listed, so that files that do not pair are reported and stop nothing else
    found = opened(wildcards.dataset)
    samples = [*itertools.chain.from_iterable(found.dataset.splits.values()), *found.unplaced]
    files = [path for sample in samples for path in (*sample.files, *sample.truth_files, *sample.observer_files)]
    return [path for path in unique(files) if os.path.exists(path)]


def listing_state(wildcards):
    # which samples stand where, what does not pair, and what nothing uses
    found = opened(wildcards.dataset)
    members = {split: found.dataset.digest(split) for split in SPLITS}
    problems = sorted(map(str, found.problems))
    return canonical({"members": members, "problems": problems, "unused": unused_digest(found)})


def validation_evidence(wildcards):
    # what a threshold is chosen on: predictions and masks of the validation samples, or nothing where it is fixed
    if CONFIG.threshold_settings(wildcards.experiment)["fixed"] is not None:
        return []
    dataset = CONFIG.dataset_of(wildcards.experiment)
    if not listed(dataset).splits["validation"]:
        raise WorkflowError(
            f"The threshold of {wildcards.experiment} is to be chosen on validation samples, and {dataset} has none: "
            "add labelled pictures, raise its `validation` fraction, or give the experiment a number as `threshold`."
        )
    predictions = PROBABILITY.format(experiment=wildcards.experiment, split="validation")
    return [predictions, *unique(raw_files(dataset, "validation", files="truth_files"))]
