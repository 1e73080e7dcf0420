"""Read and check config.yaml: typed, frozen, without unknown keys."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from pipeline.config import yaml_files
from pipeline.config.checks import bad_names, contradictions, unknown_datasets
from pipeline.config.datasets import AnyDataset
from pipeline.config.experiments import Experiment
from pipeline.config.messages import options_of_other_kinds, to_problems
from pipeline.config.plain import not_plain
from pipeline.config.runs import clashing_runs, expand_runs
from pipeline.core.errors import ConfigError, Problem
from pipeline.core.options import NotNegative, Options

_NAMED = (
    "exclude",
    "colours",
)  # keys of data sets whose entries null removes; those of `labels` have several spellings


class Config(Options):
    """The contents of config.yaml.

    `parse` replaces an experiment with `seeds` or `folds` by its runs: one experiment for each network, which is
    trained and scored like any other.
    """

    datasets: dict[str, AnyDataset] = Field(description="Data sets by name.")
    experiments: dict[str, Experiment] = Field(default_factory=dict, description="Experiments by name.")
    store_gb: NotNegative = Field(
        20,
        description="Limit in gigabytes for shards and checkpoints kept from earlier settings; 0 keeps none.",
    )


def parse(data: Mapping[str, Any]) -> Config:
    """Check plain data and convert it to a frozen configuration.

    Parameters
    ----------
    data : mapping
        Parsed YAML. Null removes what an earlier file sets: data sets, experiments, excluded samples, labels, colours,
        and options that another rule, network or method, chosen by a later file, does not have.

    Returns
    -------
    Config

    Raises
    ------
    ConfigError
        Listing every problem with its key path and the allowed values.
    """
    if problems := not_plain(data):
        raise ConfigError(problems)
    plain = _without_removed(data, ("datasets", "experiments"))
    if isinstance(plain.get("datasets"), Mapping):
        plain["datasets"] = {name: _without_removed(value, _NAMED) for name, value in plain["datasets"].items()}
    problems = [*bad_names(plain), *unknown_datasets(plain)]
    try:
        config = _validate(plain)
    except ValidationError as error:
        problems += to_problems(error, plain, schema())
        raise ConfigError(problems) from error
    problems += [*contradictions(config.datasets, config.experiments), *clashing_runs(config.experiments)]
    if problems:
        raise ConfigError(problems)
    return config.changed(experiments=expand_runs(config.experiments))


def load(paths: list[Path]) -> Config:
    """Read YAML files, merge them key by key with precedence of later ones, and `parse` the result.

    Raises
    ------
    ConfigError
        Listing the problems of all files, or else those of the merged configuration.
    """
    merged: dict[str, Any] = {}
    problems: list[Problem] = []
    for path in paths:
        try:
            _merge(merged, yaml_files.read(path))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return parse(merged)


def schema() -> dict[str, Any]:
    """Return the JSON schema with which editors complete and check config.yaml."""
    plain_schema = Config.model_json_schema()
    # null removes an entry of an earlier file
    kinds = [plain_schema["properties"], *(kind.get("properties", {}) for kind in plain_schema["$defs"].values())]
    for properties in kinds:
        for key in properties.keys() & {"datasets", "experiments", "labels", *_NAMED}:
            for entries in (properties[key], *properties[key].get("anyOf", ())):
                if "additionalProperties" in entries:
                    entries["additionalProperties"] = {"anyOf": [entries["additionalProperties"], {"type": "null"}]}
    plain_schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    plain_schema["title"] = "config.yaml of the segmentation pipeline"
    return plain_schema


def _without_removed(data: Any, sections: Sequence[str]) -> Any:  # noqa: ANN401 - not yet validated
    """Leave out null entries of the sections of a mapping; a section that is null is empty."""
    if not isinstance(data, Mapping):
        return data
    kept = dict(data)
    for section in kept.keys() & {*sections}:
        if kept[section] is None:
            kept[section] = {}
        if isinstance(kept[section], Mapping):
            kept[section] = {name: value for name, value in kept[section].items() if value is not None}
    return kept


def _validate(plain: Mapping[str, Any]) -> Config:
    """Validate plain data without the null options that only another kind of rule, network or method has."""
    try:
        return Config.model_validate(plain)
    except ValidationError as error:
        removed = options_of_other_kinds(error, plain, schema())
        if not removed:
            raise
    kept = deepcopy(dict(plain))
    for *steps, key in removed:
        node: Any = kept
        for step in steps:
            node = node[step]
        del node[key]
    return Config.model_validate(kept)


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = dict(value) if isinstance(value, Mapping) else value
