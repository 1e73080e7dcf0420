"""Time and memory of each stage, and the provenance of each result: machines, commits, commands."""

import csv
import shlex
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.core import paths
from pipeline.core.code import LIBRARIES
from pipeline.core.errors import PipelineError, plural
from pipeline.core.files import visible_paths
from pipeline.core.manifest import find
from pipeline.evaluation.methods import parse_method_name
from pipeline.report.sources import BASELINE, EXPERIMENT, Method, Reader
from pipeline.report.tables import parse_number
from pipeline.tools.provenance import read_provenance

_STAGES = (
    *("inspect", "splits", "folds", "shard", "augmented", "train", "curves", "events", "predict", "predict_classes"),
    *("ensemble", "ensemble_classes", "baseline", "threshold", "render", "render_classes"),
    *("submission", "evaluate", "evaluate_classes", "average", "comparisons", "leaderboard"),
)
ALL = "all"
"""Name of the jobs that use all data sets and methods."""


def stage_times(reader: Reader, names: Collection[str], averaged: Collection[str] = ()) -> list[dict[str, Any]]:
    """Sum the time of the last run of each job.

    Parameters
    ----------
    reader : Reader
    names : collection of str
        Data sets and methods; jobs of others are ignored.
    averaged : collection of str
        Names of means over several networks, whose only job is `average`.

    Returns
    -------
    list of dict
        ``stage``, ``name`` (data set or method), ``jobs`` (their number), ``seconds`` (sum) and ``megabytes`` (peak
        memory of one job; None if not measured), in the order of the stages.
    """
    jobs: list[tuple[str, str, float, float | None]] = []
    folder = paths.benchmarks()
    for path in sorted(folder.rglob("*.tsv")):
        stage, *owner = path.relative_to(folder).with_suffix("").parts
        name = owner[0] if owner else ALL
        if stage in _STAGES and not (owner and name not in names) and not (name in averaged and stage != "average"):
            jobs += [(stage, name, seconds, megabytes) for seconds, megabytes in _read_benchmark(path)]
    for name in sorted({*names} - {*averaged}):
        epochs = reader.table(paths.model(name) / "timing.csv", (), ("seconds", "max_rss"))
        if epochs is not None:
            jobs.append(("train", name, epochs["seconds"].sum(), epochs["max_rss"].max()))
    table = pd.DataFrame(jobs, columns=["stage", "name", "seconds", "megabytes"])
    rows = []
    for key, group in table.groupby(["stage", "name"]):
        seconds, peak = float(group["seconds"].sum()), group["megabytes"].astype(float).max()
        measured = {"seconds": seconds, "megabytes": None if pd.isna(peak) else float(peak)}
        rows.append({"stage": key[0], "name": key[1], "jobs": len(group), **measured})
    return sorted(rows, key=lambda row: (_STAGES.index(row["stage"]), row["name"]))


def _read_benchmark(path: Path) -> list[tuple[float, float | None]]:
    """Read seconds and megabytes from a benchmark file of Snakemake; empty if it has no measurement."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [
            (parse_number(row.get("s")), parse_number(row.get("max_rss")))
            for row in csv.DictReader(file, delimiter="\t")
        ]
    return [(seconds, peak or None) for seconds, peak in rows if seconds is not None]


def provenances(reader: Reader, methods: Sequence[Method]) -> list[dict[str, Any]]:
    """Return the provenance of each training run and of the scores of each method.

    Returns
    -------
    list of dict
        ``name``, ``kind``, ``lines`` (heading and text), ``target`` (the Snakemake command), ``command`` (the training
        command as it was run) and ``commands`` (which make the results again, stage by stage).
    """
    rows = []
    for method in methods:
        lines: list[tuple[str, str]] = []
        provenance = _read_provenance(reader, paths.provenance(method.name)) if method.kind == EXPERIMENT else {}
        if provenance:
            lines += _training_lines(provenance)
        manifest = find(paths.metrics(method.name) / "summary.csv") if method.scored else None
        if manifest is not None:
            versions = ", ".join(f"{name} {version}" for name, version in manifest.fingerprint.libraries.items())
            lines += [("identity of the scores", manifest.identity), ("libraries of the scores", versions)]
        command_lines = {"command": shlex.join(provenance.get("command", ())), "commands": commands(method)}
        summary = {"name": method.name, "kind": method.kind, "lines": lines, "target": target(method)}
        rows.append({**summary, **command_lines})
    return rows


def _read_provenance(reader: Reader, path: Path) -> dict[str, Any]:
    try:
        return read_provenance(path) if path.exists() else {}
    except PipelineError as error:
        reader.problems += error.problems
        return {}


def _training_lines(provenance: dict[str, Any]) -> list[tuple[str, str]]:
    code, machine = provenance["code"]["pipeline"], provenance["hardware"]
    changed = f", {plural(len(code['changed']), 'file')} changed" if code and code["dirty"] else ""
    gpus = ", ".join(gpu["name"] for gpu in machine.get("gpus", ())) or "none"
    names = {name for distributions in LIBRARIES.values() for name in distributions}
    versions = ", ".join(f"{name} {version}" for name, version in provenance["packages"].items() if name in names)
    return [
        ("commit", f"{code['commit']}{changed}" if code else "not under git"),
        ("trained", f"{provenance['started']} to {provenance['finished']}"),
        ("machine", f"{machine['cpu']}, {machine['threads']} of {machine['logical_cores']} cores; GPUs: {gpus}"),
        ("precision", machine["precision"]),
        ("system", f"{machine['system']}, {provenance['python']}"),
        ("packages", versions),
        ("seeds", ", ".join(f"{purpose} {seed}" for purpose, seed in provenance["seeds"].items())),
        ("identity of the checkpoint", provenance["identity"]),
    ]


def target(method: Method) -> str:
    """Return the Snakemake command that makes all results of an experiment, or the scores of another method."""
    scores = shlex.quote(str(paths.metrics(method.name) / "summary.csv"))
    return f"snakemake --cores all {f'report_{method.name}' if method.kind == EXPERIMENT else scores}"


def commands(method: Method) -> list[str]:
    """Return the commands that make the existing results of a method, in the order of the stages."""
    name = method.name
    lines: list[str] = []
    predictions = paths.prediction(name, "test").parent
    splits = sorted(path.name for path in predictions.iterdir() if path.is_dir()) if predictions.is_dir() else []
    if method.kind == EXPERIMENT:
        for shard in visible_paths(paths.shard_folder(method.dataset), "*-*.h5"):
            split, _, shard_number = shard.stem.rpartition("-")
            lines.append(f"shard --dataset {method.dataset} --split {split} --number {shard_number}")
        lines.append(f"train --experiment {name}")
        lines += [f"predict --experiment {name} --split {split}" for split in splits]
    elif method.kind == BASELINE:
        baseline_command = f"baseline --dataset {method.dataset} --kind {parse_method_name(name)[1]}"
        lines += [f"{baseline_command} --split {split}" for split in splits]
    else:
        return []
    if paths.threshold(name).exists():
        lines.append(f"threshold --experiment {name}")
    rendered = [split for split in splits if (paths.prediction(name, split) / "overlay").is_dir()]
    lines += [f"render --experiment {name} --split {split}" for split in rendered]
    if paths.metrics(name).is_dir():
        lines.append(f"evaluate --experiment {name}")
    return [f"python -m pipeline {line}" for line in lines]
