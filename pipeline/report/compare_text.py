"""Print rankings of experiments as text, CSV or JSON."""

import json
import sys
from collections.abc import Sequence
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.evaluation.methods import LEFT_OUT
from pipeline.evaluation.metrics import METRICS, Visibility
from pipeline.report.compare import LOWER_IS_BETTER, Ranking, Record
from pipeline.report.comparisons import COMPARED_METRICS

_EXTRA_SCORES = tuple(name for name, metric in METRICS.items() if metric.visibility >= Visibility.TERMINAL)
_UNLIMITED = 100_000  # columns
_PIPED = 100  # columns where the output is not a terminal, as for a file or a log


def write_rankings(rankings: Sequence[Ranking], output_format: str) -> None:
    """Print rankings on standard output.

    Parameters
    ----------
    rankings : sequence of Ranking
    output_format : {'text', 'csv', 'json'}
        Text has the most common scores, as a list if a table is wider than the terminal; CSV and JSON have all scores.
    """
    if output_format == "text":
        _print_text(rankings)
        return
    records = [
        {**ranking.conditions, "metric": ranking.metric, "rank": number, **row}
        for ranking in rankings
        for number, row in enumerate(ranking.rows, start=1)
    ]
    if output_format == "json":
        sys.stdout.write(json.dumps(records, indent=2, ensure_ascii=False) + "\n")
        return
    table = pd.DataFrame(records).astype({"comparisons": "Int64", "images": "Int64"})  # integers, or missing
    sys.stdout.write(table.to_csv(index=False, float_format="%.6f", lineterminator="\n"))


def _print_text(rankings: Sequence[Ranking]) -> None:
    console = Console(highlight=False, emoji=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, emoji=False, markup=False, width=_PIPED, no_color=True)
    for number, ranking in enumerate(rankings):
        if number:
            console.print()
        console.print(Text(_heading(ranking), style="bold"))
        lines = [_cells(ranking, row) for row in ranking.rows]
        styles = [
            "bold" if row["experiment"] == ranking.reference else "dim" if row["baseline"] else ""
            for row in ranking.rows
        ]
        # empty columns are left out
        names = [name for name in lines[0] if any(line[name] for line in lines)]
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in names:
            is_text = name in ("experiment", "threshold")
            table.add_column(Text(name), justify="left" if is_text else "right", no_wrap=True)
        for line, style in zip(lines, styles, strict=True):
            table.add_row(*(Text(line[name]) for name in names), style=style)
        if console.measure(table, options=console.options.update(max_width=_UNLIMITED)).maximum <= console.width:
            console.print(table)
        else:
            _print_list(console, lines, names, styles)
        for note in _notes(ranking):
            console.print(Text(note))


def _print_list(console: Console, lines: Sequence[dict[str, str]], names: Sequence[str], styles: Sequence[str]) -> None:
    """Print a table that is too wide as a list, a line for each cell."""
    width = max(map(len, names))
    for line, style in zip(lines, styles, strict=True):
        console.print()
        console.print(Text(line["experiment"], style=style), soft_wrap=True)
        for name in names:
            if name != "experiment" and line[name]:
                console.print(Text(f"  {name:{width}}  {line[name]}"), soft_wrap=True)
    console.print()


def _heading(ranking: Ranking) -> str:
    conditions, images = ranking.conditions, sorted({row["images"] for row in ranking.rows} - {None})
    scale = "/".join(sorted({row["scale"] for row in ranking.rows} - {""}))
    counts = "/".join(map(str, images))
    image_count = f"{counts} {conditions['split']} image{'s' if images != [1] else ''}".lstrip()
    parts = (
        conditions["dataset"],
        image_count,
        f"region {conditions['region']}",
        f"class {conditions['class']}",
        conditions["averaging"],
    )
    return ", ".join((*parts, f"{scale} size") if scale else parts)


def _cells(ranking: Ranking, row: Record) -> dict[str, str]:
    metric = ranking.metric
    name = row["experiment"] + ("*" if row["suspicious"] else "")
    value = _four_decimals(row.get(metric))
    if row["low"] is not None:
        value += f" [{_four_decimals(row['low'])}, {_four_decimals(row['high'])}]"
    if row["statistic"] == "mean":
        std_text = "" if row["std"] is None else f"sd {_four_decimals(row['std'])}, "
        value += f" ({std_text}{row['runs']} run{'s' if row['runs'] > 1 else ''})"
    cells = {"experiment": name, metric: value}
    cells |= {key: _four_decimals(row.get(key)) for key in _EXTRA_SCORES if key != metric and key in ranking.scores}
    cells["threshold"] = f"{row['threshold_source']} {_four_decimals(row['threshold'])}".strip()
    if any(other_row["difference"] is not None for other_row in ranking.rows):
        difference = ""
        if row["experiment"] == ranking.reference:
            difference = "reference"
        elif row["difference"] is not None:
            difference = f"{row['difference']:+.4f}"
            if row["difference_low"] is not None:
                difference += f" [{row['difference_low']:+.4f}, {row['difference_high']:+.4f}]"
        p = row["p_holm"]
        cells |= {"difference": difference, "p_holm": "<0.0001" if p is not None and p < 0.0001 else _four_decimals(p)}
    return cells


def _four_decimals(value: Any) -> str:  # noqa: ANN401 - a number or None
    return "" if value is None else f"{value:.4f}"


def _notes(ranking: Ranking) -> list[str]:
    rows = ranking.rows
    notes = [f"* {row['experiment']}: {row['suspicious']}" for row in rows if row["suspicious"]]
    if ranking.metric in LOWER_IS_BETTER:
        notes.append(f"{ranking.metric}: lower is better.")
    if not ranking.same_images:
        notes.append("Not all experiments were scored on the same images: folds have different validation images.")
    policies = {row["empty_masks"]: row["experiment"] for row in reversed(rows) if row["empty_masks"]}
    if len(policies) > 1:
        policy_names = ", ".join(f"{policy} in {name}" for policy, name in sorted(policies.items()))
        notes.append(
            f"Experiments differ in `empty_masks`, the score of images with empty mask and prediction: {policy_names}."
        )
    notes += [
        f"{row['experiment']}: the mean leaves out {row[LEFT_OUT]}, which neither masks nor predictions have."
        for row in rows
        if row[LEFT_OUT]
    ]
    if any(row["low"] is not None for row in rows):
        notes.append(
            "[low, high]: 95% bootstrap interval over images; it does not include the variation over training seeds."
        )
    comparison_counts = sorted({row["comparisons"] for row in rows if row["comparisons"] is not None})
    if comparison_counts:
        noun = "comparison" if comparison_counts == [1] else "comparisons"
        notes.append(
            f"difference: from {ranking.reference}, on the same images; p_holm: sign-flip test, corrected for "
            f"{' or '.join(map(str, comparison_counts))} {noun}. See docs/uncertainty.md."
        )
    elif ranking.metric not in COMPARED_METRICS or ranking.conditions["averaging"] != "macro":
        notes.append(
            f"Differences are tested for macro {', '.join(COMPARED_METRICS[:-1])} and {COMPARED_METRICS[-1]} only."
        )
    elif all(row["baseline"] for row in rows):
        notes.append("Baselines are not compared with each other.")
    elif all(row["statistic"] == "mean" for row in rows):
        notes.append("Means over networks have no paired differences: compare their runs, or an ensemble.")
    if any(row["origin"] == "synthetic" for row in rows):
        notes.append("Scores on synthetic data.")
    return notes
