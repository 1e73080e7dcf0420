"""What a dry run says: which experiments would run, and why."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .run import STAGES, job_label, stage_of

_PLAN = re.compile(r" --plan '((?:[^']|'\"'\"')*)'")
_FOLLOWS = "what it is made from is made again"
_ORDER = [rule for rules in STAGES.values() for rule in rules]
_MOST_CAUSES = 4

Changes = Callable[[str, Iterable[Path]], list[str] | None]


class Planned(NamedTuple):
    """A job that would run: its experiment or data set, what it does, and causes other than changed inputs."""

    name: str
    verb: str
    causes: tuple[str, ...]


def planned_job(fields: Mapping[str, Any], changes: Changes) -> Planned | None:
    """Return what to say about a job; None for a target.

    Parameters
    ----------
    fields : mapping
        Of the event that describes the job.
    changes : callable
        `pipeline.graph.changes.changes`.
    """
    rule, command = fields["rule_name"], fields.get("shellcmd") or ""
    if stage_of(rule) is None:
        return None
    wildcards = fields.get("wildcards") or {}
    label, name = job_label(rule, wildcards)
    verb = label.partition(" ")[0]
    name = "all together" if name == label else name if "experiment" in wildcards else f"data set {name}"
    plan = _PLAN.search(command)
    found = changes(plan[1].replace("'\"'\"'", "'"), map(Path, fields.get("output") or ())) if plan else []
    causes = ["new"] if found is None else found or _own_reasons(str(fields.get("reason") or ""))
    return Planned(name, verb, tuple(causes))


def _own_reasons(reason: str) -> list[str]:
    """Return the reasons of Snakemake that are not about inputs."""
    if "Forced execution" in reason:
        return ["asked for with --force, --forceall or --forcerun"]
    return ["not complete"] if "Missing output files" in reason or "incomplete" in reason.lower() else []


def summary(jobs: Iterable[Planned]) -> list[tuple[str, str, str]]:
    """Return a row for each experiment and data set: its name, its jobs and the cause."""
    verbs: dict[str, Counter[str]] = defaultdict(Counter)
    causes: dict[str, dict[str, None]] = defaultdict(dict)
    for job in jobs:
        verbs[job.name][job.verb] += 1
        causes[job.name].update(dict.fromkeys(job.causes))
    order = {verb: number for number, verb in enumerate(_ORDER)}
    rows = []
    for name in sorted(verbs, key=lambda name: (name == "all together", not name.startswith("data set "), name)):
        counted = sorted(verbs[name].items(), key=lambda item: order.get(item[0], len(order)))
        work = ", ".join(verb if count == 1 else f"{verb} x{count}" for verb, count in counted)
        reasons = [cause for cause in causes[name] if cause not in ("new", "not complete")]
        reasons = reasons or list(causes[name])[:1]
        more = f"; and {len(reasons) - _MOST_CAUSES} more" if len(reasons) > _MOST_CAUSES else ""
        rows.append((name, work, "; ".join(reasons[:_MOST_CAUSES]) + more or _FOLLOWS))
    return rows


def find_changes() -> Changes:
    """Return the function that describes changes of results; of another pipeline, one that knows of none."""
    try:
        from pipeline.graph.changes import changes
    except ImportError:

        def changes(plan_text: str, outputs: Iterable[Path]) -> list[str] | None:
            return []

    return changes
