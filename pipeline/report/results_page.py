"""The page docs/results.md, from the tables in docs/results/."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.core.errors import OutputError, PipelineError, Problem
from pipeline.core.files import visible_paths
from pipeline.evaluation.metrics import METRICS
from pipeline.evaluation.paired import holm
from pipeline.report.board import COLUMNS, LOWER
from pipeline.report.result_rows import CONDITIONS, SCORES, read_columns, read_results
from pipeline.report.tables import number_problems, parse_number

HEAD = "head.md"
"""Text before the tables; a text on one data set is in ``<data set>.md``, on mistakes in ``ablation.md``."""

ABLATION = "ablation.csv"

ABLATION_COLUMNS = (
    *("tutorial", "dataset", "mistake", "metric", "mended", "with_mistake", "difference", "low", "high"),
    "images",
)
"""A mistake of a tutorial: the score without and with it on test images, their difference and its interval."""

_ABLATION_NUMBERS = ("mended", "with_mistake", "difference", "low", "high")

_REMEDY = "add the columns, or make the table again"
_REGIONS = {"fov": "field of view", "full": "whole images"}
_SOURCES = {"validation": "from validation", "out-of-fold": "from folds"}

Row = dict[str, Any]


def render_results(folder: Path) -> str:
    """Return the text of docs/results.md.

    Parameters
    ----------
    folder : Path
        With `HEAD`, tables of results (`pipeline.report.result_rows.COLUMNS`) and `ABLATION`, all but `HEAD` if they
        exist.

    Returns
    -------
    str
        Markdown: `HEAD`, a section on test images for each data set, one on the samples that recipes were
        chosen from, and what mistakes change.

    Raises
    ------
    OutputError
        Listing everything that is missing or wrong: a file, a column, a number, or a method in two tables.
    """
    problems: list[Problem] = []

    def collect(read: Callable[[Path], pd.DataFrame], path: Path) -> list[pd.DataFrame]:
        try:
            return [read(path)] if path.exists() else []
        except PipelineError as error:
            problems.extend(error.problems)
            return []

    head = folder / HEAD
    if not head.exists():
        problems.append(Problem(str(head), "no such file", "the text before the tables", "write it, or name --folder"))
    files = [path for path in visible_paths(folder, "*.csv") if path.name != ABLATION]
    tables = [table.assign(file=path.name) for path in files for table in collect(_read_rows, path)]
    ablation = collect(_read_ablation, folder / ABLATION)
    rows = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=[*CONDITIONS, "method", "file"])
    for (dataset, _, method), group in _groups(rows, "dataset", "split", "method"):
        if len(group) > 1:
            found, expected = f"{method} on {dataset} in {', '.join(group['file'])}", "each method once"
            problems.append(Problem(str(folder), found, expected, "take its row out of all tables but one"))
    if problems:
        raise OutputError(problems)
    parts = [head.read_text(encoding="utf-8").rstrip()]
    is_test = rows["split"] == "test"
    parts += _sections(rows[is_test], folder, "##")
    if not is_test.all():
        parts += ["## What recipes were chosen from", *_sections(rows[~is_test], folder, "###")]
    if ablation:
        text = folder / ABLATION.replace(".csv", ".md")
        parts += ["## What the mistakes of tutorials change", *map(_ablation_table, ablation), *_text(text)]
    return "\n\n".join(parts) + "\n"


def _groups(rows: pd.DataFrame, *columns: str) -> list[tuple[tuple[str, ...], pd.DataFrame]]:
    """Group rows by columns of text, in the order of the rows."""
    return [(tuple(map(str, key)), group) for key, group in rows.groupby(list(columns), sort=False)]


def _read_rows(path: Path) -> pd.DataFrame:
    table = read_results(path)
    _require_numbers(path, table, [*map(str, table.columns[table.columns.str.startswith(SCORES)]), "p"])
    return table


def _read_ablation(path: Path) -> pd.DataFrame:
    table = read_columns(path, ABLATION_COLUMNS, _REMEDY)
    _require_numbers(path, table, _ABLATION_NUMBERS)
    return table


def _require_numbers(path: Path, table: pd.DataFrame, columns: Sequence[str]) -> None:
    if problems := number_problems(path, table, columns):
        raise OutputError([*problems])


def _sections(rows: pd.DataFrame, folder: Path, level: str) -> list[str]:
    """Return the sections of the data sets: heading, tables, and the text on it."""
    parts = []
    for (dataset,), group in sorted(_groups(rows, "dataset"), key=lambda group: group[0]):
        parts += [f"{level} {dataset}", *_tables(group)]
        parts += _text(folder / f"{dataset}.md")
    return parts


def _text(path: Path) -> list[str]:
    return [path.read_text(encoding="utf-8").strip()] if path.exists() else []


def _tables(rows: pd.DataFrame) -> list[str]:
    """Return for each set of conditions a heading line, the table of scores, and the table of costs and commands."""
    parts = []
    for _, group in _groups(rows, *CONDITIONS):
        records: list[Any] = group.to_dict("records")
        scores = [name for name in SCORES if any(record[name] for record in records)]
        sign = 1 if COLUMNS[scores[0]].better == LOWER else -1
        records.sort(key=lambda record: (sign * (parse_number(record[scores[0]]) or 0.0), record["method"]))
        _correct(records)
        parts += [_conditions(records[0]), _score_table(records, scores), _cost_table(records)]
    return parts


def _conditions(record: Row) -> str:
    empty = {"one": "empty mask and prediction score 1", "skip": "empty masks without a score"}
    words = [
        f"{record['images']} {record['split']} images",
        _REGIONS.get(str(record["region"]), str(record["region"])),
        f"{record['scale']} size",
        f"class {record['class']}",
        f"{record['averaging']} averages over images",
        empty.get(str(record["empty_masks"]), str(record["empty_masks"])),
    ]
    return ", ".join(words) + "."


def _correct(records: Sequence[Row]) -> None:
    """Replace the p-values of all methods that are compared with one reference by those of Holm's correction."""
    compared = [record for record in records if record["p"]]
    for key in dict.fromkeys((record["reference"], record["metric"]) for record in compared):
        family = [record for record in compared if (record["reference"], record["metric"]) == key]
        corrected = holm(np.array([float(record["p"]) for record in family]))
        for record, p in zip(family, corrected, strict=True):
            record["p_holm"] = float(p)


def _score_table(records: Sequence[Row], scores: Sequence[str]) -> str:
    head = ["method", "networks", *(_label(name) for name in scores), "threshold", "against"]
    lines = []
    for record in records:
        threshold = f"{parse_number(record['threshold']) or 0:.3f} " if record["threshold"] else ""
        source = _SOURCES.get(str(record["threshold_source"]), str(record["threshold_source"]))
        criterion = f" ({record['threshold_metric']})" if record["threshold_metric"] else ""
        kind = f"mean of {record['networks']}" if record["statistic"] == "mean" else record["networks"]
        cells = [_score(record, name) for name in scores]
        lines.append([f"`{record['method']}`", kind, *cells, threshold + source + criterion, _difference(record)])
    return _markdown(head, lines)


def _score(record: Row, name: str) -> str:
    numbers = {suffix: parse_number(record[f"{name}{suffix}"]) for suffix in ("", "_low", "_high", "_sd")}
    if numbers[""] is None:
        return ""
    text = f"{numbers['']:.3f}"
    if numbers["_sd"] is not None:
        return f"{text} ± {numbers['_sd']:.3f}"
    return text if numbers["_low"] is None else f"{text} [{numbers['_low']:.3f}, {numbers['_high']:.3f}]"


def _difference(record: Row) -> str:
    values = [parse_number(record[name]) for name in ("difference", "difference_low", "difference_high")]
    if values[0] is None:
        return ""
    p = record["p_holm"]
    p_text = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    return f"`{record['reference']}`, {_label(record['metric'])}: {_signed(values)}, {p_text}"


def _signed(values: Sequence[float | None]) -> str:
    """Return a difference with its interval, as far as they exist."""
    difference, low, high = values
    if difference is None:
        return ""
    return f"{difference:+.3f}" + ("" if low is None else f" [{low:+.3f}, {high:+.3f}]")


def _cost_table(records: Sequence[Row]) -> str:
    head = ("method", "parameters", "training", "prediction", "peak memory", "hardware", "seeds", "commit", "command")
    lines = []
    for record in records:
        parameters, memory = parse_number(record["parameters"]), parse_number(record["peak_memory_mb"])
        several = "each " if record["statistic"] == "mean" else ""
        times = [
            "" if (seconds := parse_number(record[name])) is None else f"{several}{_duration(seconds)}"
            for name in ("training_seconds", "prediction_seconds")
        ]
        cells = [
            "" if parameters is None else f"{parameters / 1e6:.2f} M",
            *times,
            "" if memory is None else f"{memory / 1000:.1f} GB",
            ", ".join(filter(None, (record["hardware"], record["number_format"]))),
            record["seeds"],
            record["commit"],
            f"`{record['command']}`",
        ]
        lines.append([f"`{record['method']}`", *cells])
    return _markdown(head, lines)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"


def _ablation_table(table: pd.DataFrame) -> str:
    head = ("tutorial", "data set", "mistake", "score", "without", "with", "difference", "test images")
    lines = []
    for row in table.to_dict("records"):
        mended, mistaken, *difference = (parse_number(row[name]) for name in _ABLATION_NUMBERS)
        scores = ["" if score is None else f"{score:.3f}" for score in (mended, mistaken)]
        words = [row["tutorial"], row["dataset"], row["mistake"], _label(row["metric"])]
        lines.append([*words, *scores, _signed(difference), row["images"]])
    return _markdown(head, lines)


def _label(metric: str) -> str:
    return COLUMNS[metric].label if metric in COLUMNS else METRICS[metric].label if metric in METRICS else metric


def _markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table without the columns that are empty."""
    kept = [index for index in range(len(head)) if any(line[index] for line in lines)] or [*range(len(head))]
    rows = [[head[index] for index in kept], ["---"] * len(kept)]
    rows += [[str(line[index]).replace("|", "\\|").replace("\n", " ") for index in kept] for line in lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
