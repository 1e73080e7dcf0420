"""Expand experiments with several seeds or folds into runs, with names that are valid in paths."""

from collections.abc import Iterator, Mapping

from pipeline.config.experiments import Experiment, Run
from pipeline.core.errors import Problem
from pipeline.core.options import NAME


def expand_runs(experiments: Mapping[str, Experiment]) -> dict[str, Experiment]:
    """Replace each experiment with `seeds` or `folds` by its runs.

    Their names are ``<experiment>-seed<n>``, ``<experiment>-fold<i>`` or, with both, ``<experiment>-fold<i>-seed<n>``;
    folds are numbered from 0.
    """
    runs: dict[str, Experiment] = {}
    for name, experiment in experiments.items():
        if experiment.seeds is None and experiment.folds is None:
            runs[name] = experiment
            continue
        for run, fold, seed in _runs(name, experiment):
            runs[run] = Run.model_construct(**{**dict(experiment), "experiment": name, "fold": fold, "seed": seed})
    return runs


def clashing_runs(experiments: Mapping[str, Experiment]) -> list[Problem]:
    """List runs whose names are too long, or equal other names except for case (equal on some file systems)."""
    owners = {name.lower(): f"experiment {name!r}" for name in experiments}
    problems = []
    for name, experiment in experiments.items():
        key = "seeds" if experiment.folds is None else "folds"
        for run, _, _ in _runs(name, experiment) if experiment.seeds or experiment.folds else ():
            description = f"a run of {name!r}"
            if not NAME.fullmatch(run):
                length = f"the run {run!r} with {len(run)} characters"
                remedy = "give the experiment a shorter name"
                problems.append(Problem(f"experiments.{name}.{key}", length, "at most 64 characters", remedy))
            owner = owners.setdefault(run.lower(), description)
            if owner != description:
                clash = f"the run {run!r}, which is also the name of {owner}"
                remedy = "rename one of the experiments"
                problems.append(Problem(f"experiments.{name}.{key}", clash, "different names", remedy))
    return problems


def _runs(name: str, experiment: Experiment) -> Iterator[tuple[str, int | None, int]]:
    """Yield the name, fold and seed of each run."""
    folds = [None] if experiment.folds is None else range(experiment.folds)
    for fold in folds:
        for seed in experiment.seeds or (experiment.seed,):
            fold_suffix = "" if fold is None else f"-fold{fold}"
            yield name + fold_suffix + ("" if experiment.seeds is None else f"-seed{seed}"), fold, seed
