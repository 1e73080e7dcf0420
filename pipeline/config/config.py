"""The one place that knows what config.yaml may say: typed, frozen, unknown keys refused."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from pipeline.config.checks import bad_names, contradictions, unknown_datasets
from pipeline.config.datasets import AnyDataset
from pipeline.config.experiments import Experiment
from pipeline.config.messages import explain
from pipeline.config.runs import clashing_runs, expand_runs
from pipeline.core.errors import ConfigError
from pipeline.core.options import NotNegative, Options


class Config(Options):
    """All that config.yaml may say.

    `parse` puts runs in the place of an experiment with `seeds` or `folds`: one experiment for each network, which
    trains, predicts and is scored like any other.
    """

    datasets: dict[str, AnyDataset]
    experiments: dict[str, Experiment] = Field(default_factory=dict)
    store_gb: NotNegative = Field(
        20, description="Gigabytes of shards and checkpoints of earlier settings that are kept; 0 keeps none"
    )


def parse(data: Mapping[str, Any]) -> Config:
    """Check plain data and freeze it.

    Parameters
    ----------
    data : mapping
        What YAML gave. A data set or experiment that is null is left out, so that a later file can take one away.

    Returns
    -------
    Config

    Raises
    ------
    ConfigError
        Listing every mistake with its path and the allowed values.
    """
    plain = dict(data)
    for section in ("datasets", "experiments"):
        if plain.get(section) is None and section in plain:
            plain[section] = {}
        if isinstance(plain.get(section), Mapping):
            plain[section] = {str(name): value for name, value in plain[section].items() if value is not None}
    problems = [*bad_names(plain), *unknown_datasets(plain)]
    try:
        config = Config.model_validate(plain)
    except ValidationError as error:
        problems += explain(error, plain, schema())
        raise ConfigError(problems) from error
    problems += [*contradictions(config.datasets, config.experiments), *clashing_runs(config.experiments)]
    if problems:
        raise ConfigError(problems)
    return config.changed(experiments=expand_runs(config.experiments))


def load(paths: list[Path]) -> Config:
    """Read one or several YAML files, later ones over earlier ones key by key, and `parse` the result."""
    merged: dict[str, Any] = {}
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8")
            data = yaml.safe_load(text)
        except OSError as error:
            raise ConfigError(
                str(path), error.strerror or str(error), "a YAML file", "name it with --config FILE"
            ) from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(
                str(path), " ".join(str(error).split()), "YAML", "correct the line; indent with blanks only"
            ) from error
        if not isinstance(data, dict):
            raise ConfigError(str(path), type(data).__name__, "the keys `datasets` and `experiments`", "see the README")
        _merge(merged, data)
    return parse(merged)


def schema() -> dict[str, Any]:
    """Return the JSON schema that lets editors complete and check config.yaml."""
    described = Config.model_json_schema()
    for section in ("datasets", "experiments"):  # null takes an entry of an earlier file away
        entries = described["properties"][section]
        entries["additionalProperties"] = {"anyOf": [entries["additionalProperties"], {"type": "null"}]}
    described["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    described["title"] = "config.yaml of the segmentation pipeline"
    return described


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = dict(value) if isinstance(value, Mapping) else value
