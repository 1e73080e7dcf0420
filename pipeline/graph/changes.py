"""What has changed since a planned result was made, from the plan that Snakemake passes to a command."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from pipeline.core.errors import PipelineError
from pipeline.core.fingerprint import differences
from pipeline.core.manifest import Manifest
from pipeline.graph.artifacts import STAGES
from pipeline.graph.plan import Plan


def changes(plan_text: str, outputs: Iterable[Path]) -> list[str] | None:
    """Describe what has changed since a result was made, other than the results that it is made from.

    Parameters
    ----------
    plan_text : str
        See `Plan.to_json`.
    outputs : iterable of Path
        The files and folders of the result; one of them has a manifest.

    Returns
    -------
    list of str or None
        Such as ``["epochs 40 -> 60"]``; empty if only its inputs are made again; None if there is no result yet.
    """
    for path in outputs:
        try:
            manifest = Manifest.read(path)
        except (OSError, ValueError):
            continue
        try:
            plan = Plan.from_json(plan_text, STAGES)
        except PipelineError:
            return []
        inputs = manifest.fingerprint.made_from
        return differences(manifest.fingerprint, replace(plan, made_from=inputs).fingerprint(), "{} {} -> {}")
    return None
