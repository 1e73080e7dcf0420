# What the rules share. Each result is described in pipeline/graph: what follows here asks it for paths, inputs and params.
import functools
import itertools
import os
import re
import sys

from snakemake.exceptions import WorkflowError
from snakemake_interface_executor_plugins.settings import DeploymentMethod

from pipeline.config import config as configuration
from pipeline.core.errors import PipelineError
from pipeline.evaluation import methods
from pipeline.graph import targets
from pipeline.graph.artifacts import (
    Augmented,
    Average,
    Baseline,
    Check,
    Checkpoint,
    ClassRenderings,
    ClassScores,
    Comparisons,
    Curves,
    Ensemble,
    Events,
    FoldTable,
    Leaderboard,
    Renderings,
    Predictions,
    Report,
    Scores,
    Shard,
    SplitTable,
    Submission,
    Threshold,
)
from pipeline.graph.base import plan_of
from pipeline.graph.current import Guard
from pipeline.graph.study import Study
from pipeline.raw.splits.names import OUT_OF_FOLD, SPLITS

# In a job, `pipeline` is this package under the interpreter that runs Snakemake, wherever --directory leads; in a container,
# under the interpreter of the image. A shell with a trap outlives SIGTERM until its command has ended: else a cluster that
# stops a job takes the job for ended, and kills the training while it saves its state.
_in_container = DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method
PYTHON = "python" if _in_container else sys.executable
shell.prefix('set -euo pipefail; trap : TERM; pipeline() {{ {PYTHON:q} -m pipeline "$@"; }}; ')


def said(function):
    # a mistake that a person can mend ends in its message alone
    @functools.wraps(function)
    def ask(*arguments, **keywords):
        try:
            return function(*arguments, **keywords)
        except PipelineError as error:
            raise WorkflowError(str(error)) from None

    return ask


STUDY = said(lambda: Study(configuration.parse(config)))()
GUARD = Guard(STUDY, is_known_to_snakemake)


def any_of(names):
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    dataset=any_of(STUDY.datasets),
    experiment=any_of([*STUDY.experiments, *STUDY.ensembles, *STUDY.baselines, *STUDY.seeded]),
    split=any_of([*SPLITS, OUT_OF_FOLD]),
    folds=r"\d+",
    kind=any_of(methods.BASELINES),
    number=r"\d+",


def made(result, name=None, **fixed):
    # the path of a result, with its wildcards
    path = next(iter(result.files.values())) if name is None else result.files[name]
    return str(path).format(**{field: fixed.get(field, f"{{{field}}}") for field in result.fields()})


def guard(results):
    # the run stops where Snakemake would wrongly leave results as they are
    if workflow.is_main_process:
        GUARD.check(results)


def asked(result, answer, **fixed):
    # what the graph answers about the result that wildcards name
    @said
    def ask(wildcards):
        made = result.of_texts(wildcards, **fixed)
        guard([made])
        return answer(made)

    return ask


def needs(result, part, **fixed):
    # the results of one part of what a result is made from
    return asked(result, lambda made: [str(one.path) for one in made.needs(STUDY).get(part, [])], **fixed)


def raw_folder(result, **fixed):
    # The contents of raw files count, which the plan tells, and not their times. They are no inputs one by one: Snakemake
    # would look at each of them at every step, which takes most of a minute where there are 100,000.
    return asked(result, lambda made: [ancient(folder) for folder in made.raw_folders(STUDY)], **fixed)


def plan(result, **fixed):
    # by what a result is made, all the way down, as canonical JSON: changes with settings, code, raw files and inputs
    return asked(result, lambda made: plan_of(made, STUDY).to_json(), **fixed)


def of_experiment(function):
    # a resource that an experiment says
    return lambda wildcards: function(STUDY.experiments[wildcards.experiment])


def folder_of(wildcards, output):
    return os.path.dirname(output[0])


def files_of(results):
    return list(dict.fromkeys(str(path) for made in results for path in made.outputs().values()))


def all_of(*names, tables=()):
    @said
    def files(wildcards):
        STUDY.require_raw()
        if "metrics" in names:
            STUDY.warn()
        results = [*(made for name in names for made in targets.of_all(STUDY, name)), *tables]
        guard(results)
        return files_of(results)

    return files


def all_of_one(target, experiment):
    @said
    def files(wildcards):
        results = targets.targeted(STUDY, target, experiment)
        guard(results)
        return files_of(results)

    return files


def labelled(figure):
    # labels in Snakemake's report: the same columns for all figures of a kind, and no two figures with the same labels
    def labels(wildcards):
        name = wildcards.get("experiment")
        dataset = wildcards.get("dataset") or STUDY.dataset_of(name)
        told = {"data set": dataset, "experiment": name, "split": wildcards.get("split"), "figure": figure}
        return {key: word for key, word in told.items() if word is not None}

    return labels
