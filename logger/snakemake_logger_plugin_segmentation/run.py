"""The state of a run of the workflow, from the events that Snakemake logs; no input or output."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

STAGES = {
    "check": ("inspect", "check"),
    "shards": ("splits", "folds", "shard"),
    "training": ("train", "train_nodes"),
    "curves": ("augmented", "curves", "events"),
    "prediction": ("predict", "predict_classes", "ensemble", "ensemble_classes", "baseline"),
    "images": ("render", "render_classes", "submission"),
    "scores": ("threshold", "evaluate", "evaluate_classes", "average", "comparisons", "leaderboard"),
    "bundles": ("export",),
    "report": ("report",),
}
"""Rules of each stage, in the order of the screen."""

OTHER = "other"
_STAGE_OF = {rule: stage for stage, rules in STAGES.items() for rule in rules}
_TARGETS = ("all", "shards", "models", "predictions", "metrics", "report", "tensorboard", "bundles")
_STATE = re.compile(r" --state (?:'([^']+)'|(\S+))")


def stage_of(rule: str) -> str | None:
    """Return the stage of a rule; None for a target, which is no work. Rules of a module may have a prefix."""
    if rule in _STAGE_OF:
        return _STAGE_OF[rule]
    first = rule.partition("_")[0]
    if first in _TARGETS:
        return None
    if first == "check":
        return _STAGE_OF["check"]
    return next((stage for known, stage in _STAGE_OF.items() if rule.endswith(f"_{known}")), OTHER)


@dataclass
class Job:
    """A job that was started or submitted.

    Parameters
    ----------
    label : str
        Such as ``"predict drive-unet test"``.
    name : str
        The experiment or data set, or the label if it has none.
    state : str
        The folder with the state of a training, for its progress file; empty for other jobs.
    prints : bool
        Whether the job itself prints to the terminal.
    """

    label: str
    name: str
    stage: str
    started: float
    logs: tuple[str, ...] = ()
    state: str = ""
    prints: bool = False


@dataclass
class Run:
    """Jobs by stage: planned and done; running jobs by their number; labels and logs of failed ones."""

    started: float = 0.0
    planned: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    running: dict[int, Job] = field(default_factory=dict)
    failed: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def plan(self, stats: Mapping[str, int]) -> None:
        """Take the number of jobs of each rule."""
        self.planned = Counter()
        for rule, count in stats.items():
            if rule != "total" and (stage := stage_of(rule)) is not None:
                self.planned[stage] += count

    def start(self, fields: Mapping[str, Any], now: float) -> Job | None:
        """Add a job that was started, or is started again; None for a target."""
        rule, command = fields["rule_name"], fields.get("shellcmd") or ""
        stage = stage_of(rule)
        if stage is None:
            return None
        label, name = job_label(rule, fields.get("wildcards") or {})
        state = _STATE.search(command)
        folder = (state[1] or state[2]) if state else ""
        job = Job(label, name, stage, now, tuple(fields.get("log") or ()), folder, "&& cat " in command)
        self.running[fields["jobid"]] = job
        self.failed.pop(label, None)  # a retry
        return job

    def finish(self, number: int) -> Job | None:
        """Remove a job that has ended successfully."""
        job = self.running.pop(number, None)
        if job is not None:
            self.done[job.stage] += 1
        return job

    def fail(self, fields: Mapping[str, Any]) -> str:
        """Remove a job that has failed; return its label."""
        job = self.running.pop(fields["jobid"], None)
        label = job.label if job else str(fields["rule_name"])
        self.failed[label] = tuple(fields.get("log") or (job.logs if job else ()))
        return label

    @property
    def trainings(self) -> list[Job]:
        """The running trainings."""
        return [job for job in self.running.values() if job.state]


def job_label(rule: str, wildcards: Mapping[str, str]) -> tuple[str, str]:
    """Return the label of a job and the experiment or data set that it belongs to."""
    verb = re.sub("_(nodes|classes)$", "", rule)
    label = " ".join([verb, *map(str, wildcards.values())])
    return label, str(wildcards.get("experiment") or wildcards.get("dataset") or label)


def duration(seconds: float) -> str:
    """Return a duration in words: ``12 s``, ``3 min``, ``2 h 05 min``."""
    minutes = round(seconds / 60)
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
