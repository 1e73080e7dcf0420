"""Rankings of experiments as text for a terminal, as CSV or as JSON."""

import json
import sys
from collections.abc import Sequence
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.evaluation.metrics import METRICS, Shown
from pipeline.report.compare import LOWER, Ranking, Record
from pipeline.report.comparisons import COMPARED

_BESIDE = tuple(name for name, metric in METRICS.items() if metric.shown >= Shown.TERMINAL)
_WIDE = 100_000  # columns of what is no terminal: nothing is ever cut


def write_rankings(rankings: Sequence[Ranking], form: str) -> None:
    """Print rankings on standard output.

    Parameters
    ----------
    rankings : sequence of Ranking
    form : {'text', 'csv', 'json'}
        Text has the most common scores, a table that is wider than the terminal becomes a list; the others have all.
    """
    if form == "text":
        _print_text(rankings)
        return
    records = [
        {**ranking.said, "metric": ranking.metric, "rank": number, **row}
        for ranking in rankings
        for number, row in enumerate(ranking.rows, start=1)
    ]
    if form == "json":
        sys.stdout.write(json.dumps(records, indent=2, ensure_ascii=False) + "\n")
        return
    table = pd.DataFrame(records).astype({"comparisons": "Int64", "images": "Int64"})  # whole numbers, or none
    sys.stdout.write(table.to_csv(index=False, float_format="%.6f", lineterminator="\n"))


def _print_text(rankings: Sequence[Ranking]) -> None:
    console = Console(highlight=False, emoji=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, emoji=False, markup=False, width=_WIDE, no_color=True)
    for number, ranking in enumerate(rankings):
        if number:
            console.print()
        console.print(Text(_heading(ranking), style="bold"))
        lines = [_cells(ranking, row) for row in ranking.rows]
        styles = [
            "bold" if row["experiment"] == ranking.reference else "dim" if row["baseline"] else ""
            for row in ranking.rows
        ]
        # a column in which nothing stands is left out
        names = [name for name in lines[0] if any(line[name] for line in lines)]
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in names:
            words = name in ("experiment", "threshold")
            table.add_column(Text(name), justify="left" if words else "right", no_wrap=True)
        for line, style in zip(lines, styles, strict=True):
            table.add_row(*(Text(line[name]) for name in names), style=style)
        if console.measure(table, options=console.options.update(max_width=_WIDE)).maximum <= console.width:
            console.print(table)
        else:
            _print_list(console, lines, names, styles)
        for note in _notes(ranking):
            console.print(Text(note))


def _print_list(console: Console, lines: Sequence[dict[str, str]], names: Sequence[str], styles: Sequence[str]) -> None:
    """Print what is too wide for a table: a line for each number."""
    width = max(map(len, names))
    for line, style in zip(lines, styles, strict=True):
        console.print()
        console.print(Text(line["experiment"], style=style), soft_wrap=True)
        for name in names:
            if name != "experiment" and line[name]:
                console.print(Text(f"  {name:{width}}  {line[name]}"), soft_wrap=True)
    console.print()


def _heading(ranking: Ranking) -> str:
    said, images = ranking.said, sorted({row["images"] for row in ranking.rows} - {None})
    scale = "/".join(sorted({row["scale"] for row in ranking.rows} - {""}))
    counts = "/".join(map(str, images))
    number = f"{counts} {said['split']} image{'s' if images != [1] else ''}".lstrip()
    where = (said["dataset"], number, f"region {said['region']}", f"class {said['class']}", said["averaging"])
    return ", ".join((*where, f"{scale} size") if scale else where)


def _cells(ranking: Ranking, row: Record) -> dict[str, str]:
    metric = ranking.metric
    name = row["experiment"] + ("*" if row["suspicious"] else "")
    value = _short(row.get(metric))
    if row["low"] is not None:
        value += f" [{_short(row['low'])}, {_short(row['high'])}]"
    if row["statistic"] == "mean":
        spread = "" if row["std"] is None else f"sd {_short(row['std'])}, "
        value += f" ({spread}{row['runs']} run{'s' if row['runs'] > 1 else ''})"
    cells = {"experiment": name, metric: value}
    cells |= {key: _short(row.get(key)) for key in _BESIDE if key != metric and key in ranking.scores}
    cells["threshold"] = f"{row['threshold_source']} {_short(row['threshold'])}".strip()
    if any(one["difference"] is not None for one in ranking.rows):
        difference = ""
        if row["experiment"] == ranking.reference:
            difference = "reference"
        elif row["difference"] is not None:
            difference = f"{row['difference']:+.4f}"
            if row["difference_low"] is not None:
                difference += f" [{row['difference_low']:+.4f}, {row['difference_high']:+.4f}]"
        p = row["p_holm"]
        cells |= {"difference": difference, "p_holm": "<0.0001" if p is not None and p < 0.0001 else _short(p)}
    return cells


def _short(value: Any) -> str:  # noqa: ANN401 - a number or None
    return "" if value is None else f"{value:.4f}"


def _notes(ranking: Ranking) -> list[str]:
    rows = ranking.rows
    notes = [f"* {row['experiment']}: {row['suspicious']}" for row in rows if row["suspicious"]]
    if ranking.metric in LOWER:
        notes.append(f"Of {ranking.metric} less is better.")
    if not ranking.same_images:
        notes.append("Not all of them were scored on the same images: folds are validated on different ones.")
    policies = {row["empty_masks"]: row["experiment"] for row in reversed(rows) if row["empty_masks"]}
    if len(policies) > 1:
        named = ", ".join(f"{policy} in {name}" for policy, name in sorted(policies.items()))
        notes.append(f"Images without foreground in both masks count otherwise where `empty_masks` differs: {named}.")
    if any(row["low"] is not None for row in rows):
        notes.append("[low, high]: 95 % bootstrap interval over images; it says nothing about other training seeds.")
    compared = {row["comparisons"] for row in rows if row["comparisons"] is not None}
    if compared:
        notes.append(
            f"difference: to {ranking.reference}, on the same images; p_holm: sign-flip test, corrected for "
            f"{'/'.join(map(str, sorted(compared)))} comparisons. See docs/uncertainty.md."
        )
    elif ranking.metric not in COMPARED or ranking.said["averaging"] != "macro":
        notes.append(f"Differences are compared by macro {', '.join(COMPARED[:-1])} and {COMPARED[-1]} only.")
    elif all(row["statistic"] == "mean" for row in rows):
        notes.append("Means over networks are not compared image by image: name their runs, or an ensemble.")
    if any(row["origin"] == "synthetic" for row in rows):
        notes.append("Made from synthetic data.")
    return notes
