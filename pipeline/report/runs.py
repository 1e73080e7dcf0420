"""What each stage took, and how each result was made: times, machines, commits, commands."""

import csv
import shlex
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.core import paths
from pipeline.core.code import LIBRARIES
from pipeline.core.errors import PipelineError
from pipeline.core.manifest import find
from pipeline.evaluation.methods import split_name
from pipeline.report.sources import BASELINE, EXPERIMENT, Method, Reader
from pipeline.report.tables import number
from pipeline.tools.provenance import read_provenance

_ORDER = (
    *("inspect", "splits", "folds", "shard", "augmented", "train", "curves", "events", "predict", "predict_classes"),
    *("ensemble", "ensemble_classes", "baseline", "threshold", "render", "render_classes"),
    *("submission", "evaluate", "evaluate_classes", "average", "comparisons", "leaderboard"),
)
ALL = "all"
"""Whom a job belongs to that works on everything."""


def stage_times(reader: Reader, named: Collection[str], averaged: Collection[str] = ()) -> list[dict[str, Any]]:
    """Add up what the last run of each job took.

    Parameters
    ----------
    reader : Reader
    named : collection of str
        Data sets and methods; what is left from others does not count.
    averaged : collection of str
        Those of them that are means over several networks: nothing but `average` is a job of theirs.

    Returns
    -------
    list of dict
        ``stage``, ``name`` (whose jobs), ``jobs``, ``seconds`` (their sum) and ``megabytes`` (the most that one of them
        held in memory; None where nothing was measured), in the order of the stages.
    """
    jobs: list[tuple[str, str, float, float | None]] = []
    top = paths.benchmarks()
    for path in sorted(top.rglob("*.tsv")):
        stage, *rest = path.relative_to(top).with_suffix("").parts
        name = rest[0] if rest else ALL
        if stage in _ORDER and not (rest and name not in named) and not (name in averaged and stage != "average"):
            jobs += [(stage, name, seconds, megabytes) for seconds, megabytes in _measured(path)]
    for name in sorted({*named} - {*averaged}):
        epochs = reader.table(paths.model(name) / "timing.csv", (), ("seconds", "max_rss"))
        if epochs is not None:
            jobs.append(("train", name, epochs["seconds"].sum(), epochs["max_rss"].max()))
    table = pd.DataFrame(jobs, columns=["stage", "name", "seconds", "megabytes"])
    rows = []
    for whose, of_one in table.groupby(["stage", "name"]):
        seconds, peak = float(of_one["seconds"].sum()), of_one["megabytes"].astype(float).max()
        measured = {"seconds": seconds, "megabytes": None if pd.isna(peak) else float(peak)}
        rows.append({"stage": whose[0], "name": whose[1], "jobs": len(of_one), **measured})
    return sorted(rows, key=lambda row: (_ORDER.index(row["stage"]), row["name"]))


def _measured(path: Path) -> list[tuple[float, float | None]]:
    """Read seconds and megabytes that Snakemake measured; of a file that says nothing, nothing."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(number(row.get("s")), number(row.get("max_rss"))) for row in csv.DictReader(file, delimiter="\t")]
    return [(seconds, peak or None) for seconds, peak in rows if seconds is not None]


def provenances(reader: Reader, methods: Sequence[Method]) -> list[dict[str, Any]]:
    """Say of each training how it came to be, and of everything scored by what its scores were made.

    Returns
    -------
    list of dict
        ``name``, ``lines`` (heading and text), ``command`` (of the training, as it was run) and ``commands`` (what a
        person types to make each of its results again).
    """
    found = []
    for method in methods:
        lines: list[tuple[str, str]] = []
        training = _provenance(reader, paths.provenance(method.name)) if method.kind == EXPERIMENT else {}
        if training:
            lines += _training_lines(training)
        scored = find(paths.metrics(method.name) / "summary.csv") if method.scored else None
        if scored is not None:
            versions = ", ".join(f"{name} {version}" for name, version in scored.fingerprint.libraries.items())
            lines += [("fingerprint of the scores", scored.identity), ("libraries of the scores", versions)]
        made = {"command": shlex.join(training.get("command", ())), "commands": commands(method)}
        about = {"name": method.name, "kind": method.kind, "lines": lines, "target": target(method)}
        found.append({**about, **made})
    return found


def _provenance(reader: Reader, path: Path) -> dict[str, Any]:
    try:
        return read_provenance(path) if path.exists() else {}
    except PipelineError as error:
        reader.problems += error.problems
        return {}


def _training_lines(said: dict[str, Any]) -> list[tuple[str, str]]:
    code, machine = said["code"]["pipeline"], said["hardware"]
    changed = f", {len(code['changed'])} files changed" if code and code["dirty"] else ""
    gpus = ", ".join(one["name"] for one in machine.get("gpus", ())) or "none"
    names = {name for distributions in LIBRARIES.values() for name in distributions}
    versions = ", ".join(f"{name} {version}" for name, version in said["packages"].items() if name in names)
    return [
        ("commit", f"{code['commit']}{changed}" if code else "not under git"),
        ("trained", f"{said['started']} to {said['finished']}"),
        ("machine", f"{machine['cpu']}, {machine['threads']} of {machine['logical_cores']} cores; GPUs: {gpus}"),
        ("system", f"{machine['system']}, {said['python']}"),
        ("packages", versions),
        ("seeds", ", ".join(f"{purpose} {seed}" for purpose, seed in said["seeds"].items())),
        ("fingerprint of the training", said["fingerprint"]),
    ]


def target(method: Method) -> str:
    """Return the target that makes everything of a method: of a baseline, its scores."""
    scores = shlex.quote(str(paths.metrics(method.name) / "summary.csv"))
    return f"snakemake --cores all {f'report_{method.name}' if method.kind == EXPERIMENT else scores}"


def commands(method: Method) -> list[str]:
    """Return the commands of each stage, in order, for the results that are there."""
    name = method.name
    lines: list[str] = []
    predicted = paths.prediction(name, "test").parent
    splits = sorted(path.name for path in predicted.iterdir() if path.is_dir()) if predicted.is_dir() else []
    if method.kind == EXPERIMENT:
        for shard in sorted(paths.shard(method.dataset, "x", 0).parent.glob("*-*.h5")):
            split, _, number = shard.stem.rpartition("-")
            lines.append(f"shard --dataset {method.dataset} --split {split} --number {number}")
        lines.append(f"train --experiment {name}")
        lines += [f"predict --experiment {name} --split {split}" for split in splits]
    elif method.kind == BASELINE:
        made = f"baseline --dataset {method.dataset} --kind {split_name(name)[1]}"
        lines += [f"{made} --split {split}" for split in splits]
    else:
        return []
    if paths.threshold(name).exists():
        lines.append(f"threshold --experiment {name}")
    drawn = [split for split in splits if (paths.prediction(name, split) / "overlay").is_dir()]
    lines += [f"render --experiment {name} --split {split}" for split in drawn]
    if paths.metrics(name).is_dir():
        lines.append(f"evaluate --experiment {name}")
    return [f"python -m pipeline {line}" for line in lines]
