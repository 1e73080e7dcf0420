"""Several seeds of one experiment: a run for each, under a name that can become a path."""

from collections.abc import Mapping

from pipeline.config_experiments import Experiment
from pipeline.config_types import NAME
from pipeline.errors import Problem


def _suffix(seed: int) -> str:
    return f"-seed{seed}"


def expand_seeds(experiments: Mapping[str, Experiment]) -> dict[str, Experiment]:
    """Put a run for each seed, ``<experiment>-seed<n>``, in the place of each experiment with `seeds`."""
    runs: dict[str, Experiment] = {}
    for name, experiment in experiments.items():
        if experiment.seeds is None:
            runs[name] = experiment
        for seed in experiment.seeds or ():
            runs[name + _suffix(seed)] = experiment.model_copy(update={"seed": seed})
    return runs


def runs_of_seeds(runs: Mapping[str, Experiment]) -> dict[str, list[str]]:
    """Return the experiments that `expand_seeds` put runs in the place of, each with the names of its runs."""
    found: dict[str, list[str]] = {}
    for name, run in runs.items():
        if run.seeds is not None:
            found.setdefault(name.removesuffix(_suffix(run.seed)), []).append(name)
    return found


def clashing_runs(experiments: Mapping[str, Experiment]) -> list[Problem]:
    """List runs whose names are too long, or are those of something else (on some file systems, case aside)."""
    owners = {name.lower(): f"experiment {name!r}" for name in experiments}
    problems = []
    for name, experiment in experiments.items():
        for seed in experiment.seeds or ():
            run, mine = name + _suffix(seed), f"a run of {name!r}"
            if not NAME.fullmatch(run):
                found, expected = f"a run called {run!r}, of {len(run)} characters", "at most 64"
                remedy = "give the experiment a shorter name"
                problems.append(Problem(f"experiments.{name}.seeds", found, expected, remedy))
            owner = owners.setdefault(run.lower(), mine)
            if owner != mine:
                found, expected = f"a run called {run!r}, which is also {owner}", "a name for each"
                problems.append(Problem(f"experiments.{name}.seeds", found, expected, "rename one of the experiments"))
    return problems
