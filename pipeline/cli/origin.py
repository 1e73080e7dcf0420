"""What the result of a verb is made by, and what its inputs have to be made by: fingerprints for the command line."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.core.errors import ConfigError, Problem
from pipeline.core.fingerprint import Fingerprint
from pipeline.graph.stages import fingerprint

Plan = dict[str, Any]


def parse_plans(text: str) -> dict[str, Plan]:
    """Read what --expect says: from each part that a result is made from to its plan, see `pipeline.graph.stages`."""
    try:
        plans = json.loads(text)
    except json.JSONDecodeError as error:
        raise _no_plans(f"text that is no JSON ({error})") from error
    if not isinstance(plans, dict):
        raise _no_plans(type(plans).__name__)
    asked(plans)
    return plans


def made_by(stage: str, settings: Mapping[str, Any], parts: Mapping[str, Plan], **names: str | None) -> str:
    """Return the fingerprint of a result in its one spelling.

    Parameters
    ----------
    stage : str
    settings : mapping
        The stage's settings.
    parts : mapping of str to plan
        What it is made from; empty where that is not known.
    names : str, optional
        What else decides the result, such as ``split``.
    """
    return fingerprint({"stage": stage, "settings": {**names, **settings}, "made_from": parts}).to_json()


def of_run(plan: Plan, seed: int, fold: int | None = None, **_: int) -> Plan:
    """Turn the plan of one run's predictions into that of another, which differs in seed and fold alone.

    Parameters
    ----------
    plan : plan
        Of the predictions of any run.
    seed, fold : int
        Of the other one.
    """
    network = plan["made_from"]["checkpoint"]
    trained = {**_in_fold(network["settings"], fold), "seed": seed}
    made_from = {**plan["made_from"], "checkpoint": {**network, "settings": trained}}
    return {**plan, "settings": _in_fold(plan["settings"], fold), "made_from": made_from}


def _in_fold(settings: Mapping[str, Any], fold: int | None) -> dict[str, Any]:
    known = settings.get("fold")
    return dict(settings) if known is None else {**settings, "fold": {**known, "fold": fold}}


def asked(parts: Mapping[str, Plan]) -> dict[str, Fingerprint]:
    """Return what each part has to be made by."""
    try:
        return {part: fingerprint(plan) for part, plan in parts.items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise _no_plans(f"what cannot be followed ({error!r})") from error


def asked_of(parts: Mapping[str, Plan], files: Mapping[str, Sequence[Path]]) -> Iterator[tuple[Path, Fingerprint]]:
    """Yield each file of the parts that something is known of, and what it has to be made by."""
    for part, one in asked(parts).items():
        for path in files.get(part, ()):
            yield path, one


def asked_of_runs(
    plan: Plan, runs: Mapping[str, Mapping[str, int]], folders: Mapping[str, Path]
) -> Iterator[tuple[Path, Fingerprint]]:
    """Yield the predictions of each run of an ensemble, and what they have to be made by; see `of_run`."""
    try:
        plans = {run: of_run(plan, **said) for run, said in runs.items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise _no_plans(f"what cannot be followed ({error!r})") from error
    return asked_of(plans, {run: [folder] for run, folder in folders.items()})


def _no_plans(found: str) -> ConfigError:
    return ConfigError(
        Problem("--expect", found, "a JSON object of plans, as the workflow passes it", "use --config FILE instead")
    )
