"""Several seeds and folds of one experiment: a run for each, under a name that can become a path."""

from collections.abc import Iterator, Mapping

from pipeline.config.experiments import Experiment, Run
from pipeline.core.errors import Problem
from pipeline.core.options import NAME


def expand_runs(experiments: Mapping[str, Experiment]) -> dict[str, Experiment]:
    """Put its runs in the place of each experiment with `seeds` or `folds`.

    They are called ``<experiment>-seed<n>``, ``<experiment>-fold<i>`` or, with both, ``<experiment>-fold<i>-seed<n>``;
    folds count from 0.
    """
    runs: dict[str, Experiment] = {}
    for name, experiment in experiments.items():
        if experiment.seeds is None and experiment.folds is None:
            runs[name] = experiment
            continue
        for run, fold, seed in _runs(name, experiment):
            runs[run] = Run.model_construct(**{**dict(experiment), "of": name, "fold": fold, "seed": seed})
    return runs


def clashing_runs(experiments: Mapping[str, Experiment]) -> list[Problem]:
    """List runs whose names are too long, or are those of something else (on some file systems, case aside)."""
    owners = {name.lower(): f"experiment {name!r}" for name in experiments}
    problems = []
    for name, experiment in experiments.items():
        key = "seeds" if experiment.folds is None else "folds"
        for run, _, _ in _runs(name, experiment) if experiment.seeds or experiment.folds else ():
            mine = f"a run of {name!r}"
            if not NAME.fullmatch(run):
                found, expected = f"a run called {run!r}, of {len(run)} characters", "at most 64"
                remedy = "give the experiment a shorter name"
                problems.append(Problem(f"experiments.{name}.{key}", found, expected, remedy))
            owner = owners.setdefault(run.lower(), mine)
            if owner != mine:
                found, expected = f"a run called {run!r}, which is also {owner}", "a name for each"
                problems.append(Problem(f"experiments.{name}.{key}", found, expected, "rename one of the experiments"))
    return problems


def _runs(name: str, experiment: Experiment) -> Iterator[tuple[str, int | None, int]]:
    """Yield name, fold and seed of each run."""
    folds = [None] if experiment.folds is None else range(experiment.folds)
    for fold in folds:
        for seed in experiment.seeds or (experiment.seed,):
            part = "" if fold is None else f"-fold{fold}"
            yield name + part + ("" if experiment.seeds is None else f"-seed{seed}"), fold, seed
