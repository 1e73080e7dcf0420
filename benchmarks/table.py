"""The results as CSV, as a Markdown table, and as a plot."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import Measurement, Problem

HEADER = ("case", "variant", "precision", "median", "low - high", "rounds", "ratio", "of the limit")


def write_csv(path: Path, rows: Sequence[Measurement]) -> None:
    """Write one line for each measurement; numbers have four digits."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(Measurement._fields)
        for row in rows:
            writer.writerow([f"{value:.4g}" if isinstance(value, float) else value for value in row])


def number(value: float) -> str:
    """Return three digits, with separators of thousands."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def cells(row: Measurement) -> tuple[str, ...]:
    """Return the cells of a row."""
    if row.unit == "1 = yes":
        median, spread = "yes" if row.median == 1 else "NO", ""
    else:
        median, spread = f"{number(row.median)} {row.unit}", f"{number(row.low)} - {number(row.high)}"
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}x"
    share = "" if row.share is None else f"{100 * row.share:.0f} %"
    return row.case, row.variant, row.precision, median, spread, str(row.rounds), ratio, share


def markdown(rows: Sequence[Measurement], problems: Sequence[Problem], machine: dict[str, str]) -> str:
    """Return one table for each part, what did not run, and the machine."""
    lines = ["; ".join(f"{name} {value}" for name, value in machine.items()) + ".", ""]
    for part in dict.fromkeys(row.part for row in rows):
        lines += [f"### {part}", "", f"| {' | '.join(HEADER)} |", "|" + "---|" * len(HEADER)]
        previous = ""
        for row in rows:
            if row.part == part:
                case, *others = cells(row)
                lines.append(f"| {' | '.join(['' if case == previous else case, *others])} |")
                previous = case
        lines.append("")
    for title, failed in (("Failed", True), ("Not run", False)):
        if chosen := [problem for problem in problems if problem.failed == failed]:
            lines += [f"{title}:", "", *(f"- {problem.where}: {problem.reason}" for problem in chosen), ""]
    return "\n".join(lines)


def insert(page: Path, device: str, text: str) -> None:
    """Replace the tables of a device in a page, between its markers."""
    begin, end = f"<!-- {device}: begin -->", f"<!-- {device}: end -->"
    content = page.read_text(encoding="utf-8")
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if len(pattern.findall(content)) != 1:
        raise ValueError(f"{page} does not contain {begin!r} and {end!r} once")
    page.write_text(pattern.sub(lambda _: f"{begin}\n{text.rstrip()}\n{end}", content), encoding="utf-8")


def draw(rows: Sequence[Measurement], path: Path) -> bool:
    """Plot all ratios, on a logarithmic axis: right of 1 is better than the reference; return whether there are any."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    shown = [row for row in rows if row.ratio is not None and row.ratio > 0]
    if not shown:
        return False
    figure = Figure(figsize=(9, 1.2 + 0.22 * len(shown)), layout="constrained")
    axes = figure.subplots()
    names = [f"{row.part}: {row.case}, {row.variant}" for row in shown]
    ours = ["tab:blue" if row.variant.startswith("ours") else "tab:grey" for row in shown]
    positions = range(len(shown))
    axes.barh(positions, [row.ratio or 1.0 for row in shown], left=0, color=ours)
    axes.set_yticks(positions, names, fontsize=7)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("ratio to the reference (more is better); blue: this pipeline")
    axes.grid(axis="x", alpha=0.3)
    axes.margins(y=0.01)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return True
