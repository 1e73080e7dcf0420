"""Where the arguments of a verb come from: the configuration, or what the rules pass."""

import argparse
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pipeline.cli.origin import Plan, parse_plans
from pipeline.core import paths
from pipeline.core.errors import ConfigError, Problem
from pipeline.evaluation.entrants import split_name
from pipeline.graph.stages import fingerprint

Arguments = argparse.Namespace
_Result = TypeVar("_Result")


def stage_settings(arguments: Arguments, cut: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    """Return the stage's slice: from --settings, or cut out of the configuration."""
    if arguments.settings is None:
        return cut(configuration(arguments))
    try:
        settings = json.loads(arguments.settings)
    except json.JSONDecodeError as error:
        raise ConfigError(
            Problem("--settings", f"text that is no JSON ({error})", "a JSON object", "quote it in the shell")
        ) from error
    if not isinstance(settings, dict):
        raise ConfigError(Problem("--settings", type(settings).__name__, "a JSON object", "pass {...}"))
    return settings


def take_dataset(settings: dict[str, Any]) -> str:
    """Take the name of the data set out of settings that must have it."""
    if "dataset" not in settings:
        raise ConfigError(Problem("--settings", "no key 'dataset'", "the name of the data set", "use --config FILE"))
    return str(settings.pop("dataset"))


def several_classes(settings: dict[str, Any]) -> bool:
    """Tell by its data set whether a stage works on class indices; `_call` says what is missing in the settings."""
    source = settings.get("source")
    if "dataset" not in settings or not isinstance(source, dict) or "layout" not in source:
        return False
    from pipeline.raw.dataset import describe

    return len(describe(str(settings["dataset"]), source["layout"], source.get("labels")).classes) > 2


def refuse_threshold(arguments: Arguments) -> None:
    """Say that several classes have no threshold, where one was named."""
    if arguments.threshold is not None:
        raise ConfigError(
            Problem(
                "--threshold",
                f"{arguments.threshold}, while the data set of {arguments.experiment!r} has several classes",
                "no threshold: a pixel gets its most probable class",
                "leave out --threshold, and name folders of class indices (mask/) with --predictions",
            )
        )


def configuration(arguments: Arguments) -> Any:  # noqa: ANN401 - pipeline.config.config is imported by those who need it
    """Load the configuration; refuse a data set or experiment that it does not name."""
    from pipeline.config import config

    parsed = config.load(arguments.config or [Path("config.yaml")])
    for section in ("dataset", "experiment"):
        name = getattr(arguments, section, None)
        known = {*getattr(parsed, f"{section}s")}
        if section == "experiment" and arguments.verb == "average":
            known = {*parsed.seeded()}
        if section == "experiment" and arguments.verb == "ensemble":
            known = {split_name(ensemble)[0] for ensemble in parsed.ensembles()}
        if section == "experiment" and arguments.verb in ("threshold", "render", "evaluate"):
            known |= {*parsed.baselines()}
        if section == "experiment" and arguments.verb in ("threshold", "render", "evaluate", "submission"):
            known |= {*parsed.ensembles()}
        if name is not None and name not in known:
            runs = parsed.seeded().get(name, []) if section == "experiment" else []
            several = f", an experiment of several runs: {', '.join(runs)}" if runs else ""
            remedy = "name one of its runs" if runs else "correct the name"
            expected = f"one of {', '.join(sorted(known)) or 'none'}"
            raise ConfigError(Problem(f"--{section}", f"{name!r}{several}", expected, remedy))
    return parsed


def expected_plans(arguments: Arguments, cut: Callable[[Any, Any], dict[str, Plan]], *named: Any) -> dict[str, Plan]:  # noqa: ANN401
    """Return what the inputs have to be made by: from --expect, or from the configuration where it leads to them.

    Whoever names an input means that file, whatever made it: nothing is asked of it.
    """
    if arguments.expect is not None:
        return parse_plans(arguments.expect)
    if arguments.settings is not None or any(path is not None for path in named):
        return {}
    from pipeline.graph import plans as config_plans

    return cut(config_plans, configuration(arguments))


def fold_arguments(
    arguments: Arguments, settings: Mapping[str, Any], dataset: str, parts: Mapping[str, Plan]
) -> dict[str, Any]:
    """Return the table of folds for a stage whose settings name a fold, as a keyword argument; else nothing.

    A table that something else made than was asked for is refused.
    """
    fold = settings.get("fold")
    if fold is None:
        return {}
    if not is_fold(fold):
        expected = '{"folds": K, "fold": I}, I from 0 to K - 1'
        raise ConfigError(Problem("--settings", f"the fold {json.dumps(fold)}", expected, "use --config FILE instead"))
    from pipeline.raw.splits.fold_table import read_fold_table

    table = arguments.folds or paths.folds(dataset, fold["folds"])
    read_fold_table(table, fold["folds"], fingerprint(parts["folds"]) if "folds" in parts else None)
    return {"fold_table": table}


def is_fold(said: Any) -> bool:  # noqa: ANN401 - whatever was said
    """Return whether settings name one of so many folds."""
    if not isinstance(said, Mapping) or not {"folds", "fold"} <= said.keys():
        return False
    numbers = type(said["folds"]), type(said["fold"])
    return numbers == (int, int) and 0 <= said["fold"] < said["folds"]


def call(function: Callable[..., _Result], **arguments: Any) -> _Result:  # noqa: ANN401 - any keyword arguments
    """Call a stage; settings it does not know, or lacks, are a mistake in --settings."""
    parameters = inspect.signature(function).parameters
    unknown = sorted(arguments.keys() - parameters.keys())
    missing = sorted(
        name for name, said in parameters.items() if said.default is inspect.Parameter.empty and name not in arguments
    )
    if unknown or missing:
        found = "; ".join(
            f"{word} {', '.join(names)}" for word, names in (("unknown:", unknown), ("missing:", missing)) if names
        )
        raise ConfigError(
            Problem("--settings", found, f"the keys {', '.join(parameters)}", "use --config FILE instead")
        )
    return function(**arguments)


def named_shards(arguments: Arguments, given: Sequence[Path] | None, dataset: str, split: str) -> list[Path]:
    """Return the shards named on the command line, or those that the configuration leads to."""
    if given is not None:
        return list(given)
    from pipeline.raw.dataset import open_dataset

    config = configuration(arguments)
    source = config.source(dataset, split)
    raw = open_dataset(dataset, **source, shards=config.datasets[dataset].shards)
    return [paths.shard(dataset, split, number) for number in raw.shard_members(split)]
