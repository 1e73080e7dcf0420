# Functions of the rules. Results are described in pipeline/graph; these functions return their paths, inputs and params.
import functools
import itertools
import os
import re
import sys

from snakemake.exceptions import WorkflowError
from snakemake_interface_executor_plugins.settings import DeploymentMethod

from pipeline.config import config as configuration
from pipeline.core.errors import PipelineError
from pipeline.core.memory import collect_garbage_rarely
from pipeline.evaluation import methods
from pipeline.graph import targets
from pipeline.graph.artifacts import (
    Augmented,
    Average,
    Baseline,
    Bundle,
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

# In a job, `pipeline` is this package, run by the interpreter of Snakemake, or in a container by that of the image. With the
# trap, the shell survives SIGTERM until its command has ended; without, a cluster that stops a job would see the shell end
# and kill the training while it saves its state.
_in_container = DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method
PYTHON = "python" if _in_container else sys.executable
shell.prefix('set -euo pipefail; trap : TERM; pipeline() {{ {PYTHON:q} -m pipeline "$@"; }}; ')


def without_traceback(function):
    # errors that a user can fix end with their message only
    @functools.wraps(function)
    def call(*arguments, **keywords):
        try:
            return function(*arguments, **keywords)
        except PipelineError as error:
            raise WorkflowError(str(error)) from None

    return call


collect_garbage_rarely()
STUDY = without_traceback(lambda: Study(configuration.parse(config)))()
GUARD = Guard(STUDY, snakemake_will_rerun)


def any_of(names):
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    dataset=any_of(STUDY.datasets),
    experiment=any_of([*STUDY.experiments, *STUDY.ensembles, *STUDY.baselines, *STUDY.runs]),
    split=any_of([*SPLITS, OUT_OF_FOLD]),
    folds=r"\d+",
    kind=any_of(methods.BASELINES),
    number=r"\d+",


def path_of(result, name=None, **fixed):
    # the path of an output of a kind of result, with wildcards for the fields that are not fixed
    path = next(iter(result.files.values())) if name is None else result.files[name]
    return str(path).format(**{field: fixed.get(field, f"{{{field}}}") for field in result.fields()})


def guard(results):
    # stops the run if Snakemake would wrongly take outdated results for current ones
    if workflow.is_main_process:
        GUARD.check(results)


def input_function(result, function, **fixed):
    # applies a function to the result that the wildcards identify
    @without_traceback
    def call(wildcards):
        artifact = result.from_strings(wildcards, **fixed)
        guard([artifact])
        return function(artifact)

    return call


def needs(result, part, **fixed):
    # the paths of one input of a result
    def paths(artifact):
        return [str(output.path) for output in artifact.inputs(STUDY).get(part, [])]

    return input_function(result, paths, **fixed)


def raw_folder(result, **fixed):
    # The plan contains digests of the raw files, so their modification times are ignored. They are not inputs one by one:
    # Snakemake would check each of them at every step, most of a minute for 100,000 files. A folder such as a{b} or <c> is no
    # input at all: Snakemake would take it for a pattern, and has no way to escape it.
    def folders(artifact):
        return [ancient(folder) for folder in artifact.raw_folders(STUDY) if not re.search("[{}<>]", folder)]

    return input_function(result, folders, **fixed)


def plan(result, **fixed):
    # the plan as canonical JSON: changes with settings, code, raw files and, recursively, those of the inputs
    return input_function(result, lambda artifact: plan_of(artifact, STUDY).to_json(), **fixed)


def setting_of(function):
    # a number of threads or a resource that depends on the experiment
    return lambda wildcards: function(STUDY.experiments[wildcards.experiment])


def output_folder(wildcards, output):
    return os.path.dirname(output[0])


def files_of(results):
    return list(dict.fromkeys(str(path) for result in results for path in result.outputs().values()))


def target_files(*names, tables=()):
    # the files of targets, for all data sets and experiments
    @without_traceback
    def files(wildcards):
        STUDY.require_raw()
        if "metrics" in names:
            STUDY.warn()
        results = [*(result for name in names for result in targets.results_of_target(STUDY, name)), *tables]
        guard(results)
        return files_of(results)

    return files


def experiment_target_files(target, experiment):
    # the files of a target for one experiment
    @without_traceback
    def files(wildcards):
        results = targets.target_results(STUDY, target, experiment)
        guard(results)
        return files_of(results)

    return files


def figure_labels(figure):
    # labels in Snakemake's report: the same columns for all figures of a category, different labels for each figure
    def labels(wildcards):
        name = wildcards.get("experiment")
        dataset = wildcards.get("dataset") or STUDY.dataset_of(name)
        columns = {"data set": dataset, "experiment": name, "split": wildcards.get("split"), "figure": figure}
        return {column: value for column, value in columns.items() if value is not None}

    return labels
