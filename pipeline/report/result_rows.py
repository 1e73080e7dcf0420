"""Rows of docs/results/*.csv: scores of a method on one split, what they cost, and how they were made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.core import manifest
from pipeline.core.errors import ConfigError, OriginError, OutputError, PipelineError, Problem, join_first, plural
from pipeline.core.tables import write_table
from pipeline.evaluation.methods import MEAN, ensemble_name, is_baseline, parse_method_name
from pipeline.evaluation.paired import compare_pairs
from pipeline.report.tables import parse_number, read_summaries, read_table, read_tables
from pipeline.tools.provenance import read_provenance

SCORES = (
    *("tgs_score", "max_f03_of_mean_pr", "mae", "f1", "roc_auc", "iou", "precision", "recall", "specificity"),
    "accuracy",
)
"""Scores of a row, the most important one first."""

_ONLY_LAYOUT = {"tgs_score": "tgs", "max_f03_of_mean_pr": "duts", "mae": "duts"}

CONDITIONS = ("dataset", "split", "region", "class", "averaging", "scale", "images", "empty_masks")
"""Columns that two rows of one table have in common."""

_THRESHOLD = ("threshold", "threshold_source", "threshold_metric")
_COST = ("parameters", "training_seconds", "prediction_seconds", "peak_memory_mb", "hardware", "number_format")
_PAIRED = ("reference", "metric", "difference", "difference_low", "difference_high", "p")

COLUMNS = (
    *("method", "statistic", "networks", "seeds", *CONDITIONS, *_THRESHOLD),
    *(f"{score}{suffix}" for score in SCORES for suffix in ("", "_low", "_high", "_sd")),
    *(*_COST, *_PAIRED, "commit", "command"),
)
"""Columns of a table of results."""

_DEFINITION = ("id", "class", "pixels", "tp", "fn", "scale", "mask_binarization", "empty_masks", "background")

Row = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """The results of a workflow, in its folder `results`.

    Parameters
    ----------
    folder : Path
    config : sequence of Path
        The configuration, relative to the folder of the project.
    commit : str
        The commit of the code; empty if it is that of the provenance of each network.
    split : str
        The samples whose scores become rows.
    """

    folder: Path
    config: Sequence[Path] = ()
    commit: str = ""
    split: str = "test"

    def scores(self, method: str) -> Path:
        """Return the folder of the scores of a method."""
        return self.folder / "metrics" / method

    def networks(self, method: str) -> list[str]:
        """Return the training runs that a method consists of: all seeds and folds of an experiment or ensemble."""
        if is_baseline(method):
            return []
        name = parse_method_name(method)[0]
        average = manifest.find(self.scores(name) / "summary.csv")
        return list(average.fingerprint.settings.get("runs", [name]) if average else [name])


def method_commands(run: Run, experiments: Sequence[str], names: Sequence[str] | None) -> dict[str, str]:
    """Return the methods to write rows of, each with the command that makes its scores.

    Parameters
    ----------
    run : Run
    experiments : sequence of str
        The experiments of the configuration.
    names : sequence of str, optional
        By default the experiments and those of their ensembles that have scores.

    Raises
    ------
    ConfigError
        If a path is not below the working folder: the command must work for others.
    """
    if outside := [path for path in run.config if path.is_absolute() or ".." in path.parts]:
        remedy = "run the command in the folder of the project, and name the configuration relative to it"
        raise ConfigError([Problem(str(path), "a path of this machine", "a relative path", remedy) for path in outside])
    ensembles = [name for name in map(ensemble_name, experiments) if run.scores(name).exists()]
    files = " ".join(path.as_posix() for path in run.config)
    workflow = f"snakemake --cores all --configfile {files} --replace-workflow-config"

    def target(method: str) -> str:
        name = parse_method_name(method)[0]
        return f"metrics_{name}" if name in experiments and not is_baseline(method) else "metrics"

    return {name: f"{workflow} {target(name)}" for name in names or [*experiments, *ensembles]}


def write_rows(
    output: Path,
    *,
    run: Run,
    methods: Mapping[str, str],
    reference: Path | None = None,
    metric: str = "f1",
) -> None:
    """Add the rows of some methods to a table of results, or replace those that it has.

    Parameters
    ----------
    output : Path
        CSV file with `COLUMNS`; it need not exist.
    run : Run
    methods : mapping of str to str
        Names of experiments, ensembles and baselines, each with the command that makes its scores.
    reference : Path, optional
        Folder of the scores of the method that the others are compared with, on the same samples.
    metric : str
        Column of ``per_image.csv`` of the paired comparison.

    Raises
    ------
    PipelineError
        Listing every file that is missing or that does not fit.
    """
    tables = [run.scores(method) / name for method in methods for name in ("summary.csv", "intervals.csv")]
    if edited := manifest.find_edited(tables):
        raise OriginError(edited)
    rows: list[Row] = []
    problems: list[Problem] = []
    for method, command in methods.items():
        try:
            rows.append(_row(run, method, command))
        except PipelineError as error:
            problems += error.problems
    if reference is not None and not problems:
        for row in rows:
            try:
                row |= _paired(run, row, reference, metric)
            except PipelineError as error:
                problems += error.problems
    if problems:
        raise OutputError(list(dict.fromkeys(problems)))
    table = pd.DataFrame(rows, columns=list(COLUMNS), dtype=object)
    if output.exists():
        earlier = read_results(output)
        table = pd.concat([earlier[~earlier["method"].isin(methods)].replace("", None), table])
    write_table(output, table)


def read_results(path: Path) -> pd.DataFrame:
    """Read a table of results as text.

    Raises
    ------
    OutputError
        If the file is not a table, or lacks columns.
    """
    return read_columns(path, COLUMNS, "run `python -m pipeline results --config FILE` with all methods of this table")


def read_columns(path: Path, columns: Sequence[str], remedy: str) -> pd.DataFrame:
    """Read a table as text and refuse one that lacks columns."""
    table = read_table(path)
    if missing := [name for name in columns if name not in table]:
        found = f"a table without {join_first(missing, 20)}"
        raise OutputError(str(path), found, f"the columns {', '.join(columns)}", remedy)
    return table


def _row(run: Run, method: str, command: str) -> Row:
    networks = run.networks(method)
    folder = run.scores(networks[0] if len(networks) == 1 else method)  # the mean over one seed has no interval
    if not (folder / "summary.csv").exists():
        remedy = f"run `{command}`, correct --methods, or name the results folder with --results"
        raise OutputError(str(folder / "summary.csv"), "no such file", f"the scores of {method}", remedy)
    (summary,) = read_summaries([folder / "summary.csv"])
    for name, default in (("statistic", "run"), ("split", "")):
        summary[name] = summary.get(name, default)
    selected = summary[(summary["split"] == run.split) & (summary["averaging"] == "macro")]
    for name, preferred in (("region", "fov"), ("class", MEAN)):
        if preferred in set(selected[name]):
            selected = selected[selected[name] == preferred]
    by_statistic = {row["statistic"]: row for row in selected.to_dict("records")}
    row = by_statistic.get("mean", by_statistic.get("run"))
    if row is None:
        found, remedy = (
            f"no scores of {run.split} samples",
            f"set `{run.split}` of the data set, or name other samples with --split",
        )
        raise OutputError(str(folder / "summary.csv"), found, f"macro scores of {run.split} samples", remedy)
    result: Row = {"method": method, "statistic": row["statistic"], "networks": len(networks) or None}
    result |= {"command": command}
    result |= {name: row.get(name) or None for name in (*CONDITIONS, *_THRESHOLD)}
    intervals = {} if row["statistic"] == "mean" else _intervals(folder / "intervals.csv", row)
    for score in SCORES:
        if _ONLY_LAYOUT.get(score) in (None, row.get("layout")):
            result[score] = parse_number(row.get(score))
            result[f"{score}_sd"] = parse_number(by_statistic.get("std", {}).get(score))
            result[f"{score}_low"], result[f"{score}_high"] = intervals.get(score, (None, None))
    return {**result, **(_cost(run, method, networks, row["statistic"]) if networks else {})}


def _intervals(path: Path, row: Mapping[Any, str]) -> dict[str, tuple[float | None, float | None]]:
    conditions = ("split", "region", "class", "averaging")
    return {
        other["metric"]: (parse_number(other["low"]), parse_number(other["high"]))
        for other in read_table(path).to_dict("records")
        if all(other[name] == row[name] for name in conditions)
    }


def _cost(run: Run, method: str, networks: Sequence[str], statistic: str) -> Row:
    """Return parameters of one network, time and memory: of an ensemble in all, of a mean over networks for each."""
    from pipeline.models.registry import build_model, count_parameters
    from pipeline.training.checkpoint import load_checkpoint

    folders = [run.folder / "models" / name for name in networks]
    provenances = [read_provenance(folder / "provenance.json") for folder in folders]
    info = load_checkpoint(folders[0] / "best.pt").info
    model = build_model(info.model, in_channels=info.in_channels, out_channels=info.out_channels)
    epochs = [table.apply(pd.to_numeric) for table in read_tables([folder / "timing.csv" for folder in folders])]
    names = networks if statistic == "mean" else [*dict.fromkeys([*networks, method])]
    jobs = [
        _benchmark(run.folder / "benchmarks" / kind / name / f"{run.split}.tsv") for name in names for kind in _JOBS
    ]
    predictions = [job for job in jobs if job is not None]
    if not predictions:
        where = str(run.folder / "benchmarks" / _JOBS[0])
        remedy = "name a folder of results with its benchmarks, which Snakemake writes"
        raise OutputError(where, f"no time of {method}", "the time of its predictions", remedy)
    share = len(networks) if statistic == "mean" else 1
    peaks = [*(table["max_rss"].max() for table in epochs), *(job["max_rss"] for job in predictions)]
    return {
        "seeds": " ".join(dict.fromkeys(str(provenance["seeds"]["seed"]) for provenance in provenances)),
        "parameters": count_parameters(model),
        "training_seconds": round(sum(float(table["seconds"].sum()) for table in epochs) / share, 1),
        "prediction_seconds": round(sum(job["s"] for job in predictions) / share, 1),
        "peak_memory_mb": round(float(np.nanmax(peaks))),
        "hardware": _distinct(map(_hardware, provenances)),
        "number_format": _distinct(str(provenance["hardware"]["precision"]) for provenance in provenances),
        "commit": run.commit
        or _distinct(_commit(folder, run.config, state) for folder, state in zip(folders, provenances, strict=True)),
    }


_JOBS = ("predict", "ensemble", "predict_classes", "ensemble_classes")


def _benchmark(path: Path) -> dict[str, float] | None:
    """Return seconds and megabytes of a job; None if it did not run."""
    if not path.exists():
        return None
    table = pd.read_csv(path, sep="\t", usecols=["s", "max_rss"]).apply(pd.to_numeric, errors="coerce")
    return {"s": float(table["s"].sum()), "max_rss": float(table["max_rss"].max())}


def _distinct(texts: Any) -> str:  # noqa: ANN401 - any iterable of str
    return "; ".join(dict.fromkeys(texts))


def _hardware(provenance: Mapping[str, Any]) -> str:
    """Name the hardware in general terms: no machine is recognized by it."""
    machine = provenance["hardware"]
    gpus = [str(gpu["name"]) for gpu in machine.get("gpus", ())]
    names = ", ".join(f"{gpus.count(name)} {name}" for name in dict.fromkeys(gpus))
    return names or plural(machine["threads"], "CPU core")


def _commit(folder: Path, config: Sequence[Path], provenance: Mapping[str, Any]) -> str:
    """Return the commit of code and configuration, which others can check out."""
    state = provenance["code"]["pipeline"]
    commit = (state or {}).get("commit")
    edited = [name for name in (state or {}).get("changed", ()) if name.startswith("pipeline/") or Path(name) in config]
    if commit and not edited:
        return str(commit)[:12]
    found = f"files that are not committed: {join_first(edited)}" if edited else "no commit: the code was not under git"
    remedy = "train again with committed files, or name the commit that has exactly these with --commit"
    raise OutputError(str(folder / "provenance.json"), found, "the commit of code and configuration", remedy)


def _paired(run: Run, row: Row, reference: Path, metric: str) -> Row:
    """Compare a method with the reference: mean difference, its interval and the p-value of the sign-flip test."""
    other = replace(run, folder=reference.parent.parent)
    if row["method"] == reference.name and other.folder == run.folder:
        return {}
    names = {"dataset": row["dataset"], "region": row["region"], "class": row["class"]}
    definition, scores = _image_scores(run, row["method"], names, metric)
    other_definition, other_scores = _image_scores(other, reference.name, names, metric)
    if not definition.equals(other_definition):
        found = f"other images, masks or definitions of scores than those of {row['method']}"
        remedy = "name with --reference a method that was scored on the same images, or leave the option out"
        raise OutputError(str(reference), found, "scores of the same images by the same definitions", remedy)
    result = compare_pairs(np.stack([scores, other_scores]), [(0, 1)])
    values = (round(float(values[0]), 6) for values in (result.difference, result.low, result.high, result.p))
    return dict(zip(_PAIRED, (reference.name, metric, *values), strict=True))


def _image_scores(
    run: Run, method: str, names: Mapping[str, str], metric: str
) -> tuple[pd.DataFrame, np.ndarray[Any, np.dtype[np.float64]]]:
    """Return what was scored by which definitions, and the score of each image: (N,) array in the order of the images.

    Scores are averaged over the runs of an experiment, and over foreground classes where the class is the mean of them.
    """
    single = run.scores(method) / "per_image.csv"
    files = [single] if single.exists() else [run.scores(name) / "per_image.csv" for name in run.networks(method)]
    table = pd.concat(read_tables(files or [single]), ignore_index=True)
    if missing := [name for name in (*_DEFINITION, metric) if name not in table]:
        expected, remedy = "scores of individual images", "name another score with --metric"
        raise OutputError(str(files[0]), f"a table without {', '.join(missing)}", expected, remedy)
    selected = table[(table["split"] == run.split) & (table["region"] == names["region"])]
    if names["class"] == MEAN:
        selected = selected[~selected["class"].isin({*table["background"]})]
    else:
        selected = selected[selected["class"] == names["class"]]
    counts = selected["tp"].astype(int) + selected["fn"].astype(int)
    definition = selected[list(_DEFINITION)].drop(columns=["tp", "fn"]).assign(positives=counts)
    definition = definition.drop_duplicates().sort_values(["id", "class"]).reset_index(drop=True)
    by_image = pd.to_numeric(selected[metric]).groupby(selected["id"]).mean().sort_index()
    return definition, by_image.round(6).to_numpy(np.float64)
