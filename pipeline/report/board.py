"""Prepare the leaderboard for the report: the text of each cell, and the best score among comparable rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd

from pipeline.evaluation.contours import HAUSDORFF
from pipeline.evaluation.curves import MAX_F
from pipeline.evaluation.methods import LEFT_OUT, MEAN, is_baseline
from pipeline.evaluation.metrics import METRICS, Visibility

HIGHER, LOWER, NEITHER = "higher is better", "lower is better", ""


class Column(NamedTuple):
    """A column of scores: heading, direction, whether it is shown by default, and whether on narrow screens too."""

    name: str
    label: str
    better: str
    shown: bool = False
    narrow: bool = False

    @property
    def title(self) -> str:
        """The tooltip of its heading."""
        return f"{self.name}: {self.better}" if self.better else self.name


_METRIC_COLUMNS = [
    Column(
        name,
        metric.label,
        LOWER if metric.lower_is_better else HIGHER,
        metric.visibility >= Visibility.PAGE,
        metric.visibility >= Visibility.NARROW_PAGE,
    )
    for name, metric in METRICS.items()
]
COLUMNS = {
    column.name: column
    for column in (
        *sorted(_METRIC_COLUMNS, key=lambda column: not column.shown),
        Column(f"{HAUSDORFF}_images", "Images with HD95", NEITHER),
        Column("f1_sd", "F1, sd over images", NEITHER),
        *(Column(name, label, HIGHER) for name, (label, _, _) in MAX_F.items()),
        Column("oracle_f1", "Oracle F1 (not a result)", NEITHER),
        Column("oracle_threshold", "Oracle threshold", NEITHER),
    )
}
"""Columns of scores in the order of the report: first those that it shows by default."""

BOUNDS = ("f1_low", "f1_high")
"""Columns of the interval of F1; the report shows intervals below the scores."""

_COMPARABLE = (
    *("dataset", "origin", "split", "region", "class", "averaging", "scale", "empty_masks", "background", "images"),
)
"""Rows can be compared if all of these are equal."""

_ROW = ("experiment", "dataset", "split", "region", "class", "averaging")
_CONDITIONS = (
    *("experiment", "statistic", "runs", "dataset", "layout", "origin", "excluded", "leak", "suspicious", "split"),
    *("region", "class", "scale", "threshold", "threshold_source", "threshold_metric", "mask_binarization"),
    *("probability_levels", "empty_masks", "background", LEFT_OUT, "averaging", "images"),
)


@dataclass
class Cell:
    """A score: its displayed text, the value it is sorted by, its standard deviation and its interval."""

    text: str = ""
    value: str = ""
    spread: str = ""
    interval: str = ""
    best: bool = False


@dataclass
class Row:
    """A row of the leaderboard.

    Parameters
    ----------
    record : dict of str to str
        The row of ``leaderboard.csv``, by column.
    kind : str
        ``"baseline"``, ``"mean"`` (over several networks) or ``"run"``.
    overall : bool
        Whether its class is the only foreground class, or the mean over several.
    cells : list of Cell
        One for each column of scores.
    """

    record: dict[str, str]
    kind: str
    overall: bool
    cells: list[Cell] = field(default_factory=list)


@dataclass
class Board:
    """All rows, the columns of scores, and the level of the intervals, such as ``95%``; empty without intervals."""

    columns: list[Column]
    rows: list[Row]
    level: str = ""


def score_columns(table: pd.DataFrame) -> list[str]:
    """Return the columns of a leaderboard that have scores."""
    return [name for name in table.columns if name not in (*_CONDITIONS, *BOUNDS)]


def build_board(
    table: pd.DataFrame,
    intervals: Mapping[tuple[str, ...], tuple[str, str, str]],
    images: Mapping[tuple[str, str], str] | None = None,
) -> Board:
    """Prepare a leaderboard for the report.

    The standard deviation over several networks is shown in the row of their mean. The best score of a column is
    marked among comparable rows: those with the same images, region, class, averaging, scale and policy for empty
    masks. Networks and ensembles are compared with each other, means with means. Baselines, suspicious rows,
    ``oracle`` columns and rows without a comparable one are never marked.

    Parameters
    ----------
    table : DataFrame
        ``leaderboard.csv``, as text.
    intervals : mapping
        See `pipeline.report.sources.read_intervals`.
    images : mapping, optional
        Experiment and split to a text; equal texts mean the same images. Folds have different validation samples, so
        validation rows without an entry, such as means, are not compared with other experiments.
    """
    names = score_columns(table)
    names.sort(key=lambda name: [*COLUMNS, name].index(name))
    columns = [COLUMNS.get(name, Column(name, name.replace("_", " "), NEITHER)) for name in names]
    records = [{str(key): str(value) for key, value in row.items()} for row in table.to_dict("records")]
    spreads = {_key(row): row for row in records if row.get("statistic") == "std"}
    multiclass_datasets = {row["dataset"] for row in records if row.get("class") == MEAN}
    rows, levels = [], set()
    for record in records:
        kind = "baseline" if is_baseline(record["experiment"]) else record.get("statistic") or "run"
        if kind == "std":
            continue
        spread = spreads.get(_key(record), {}) if kind == "mean" else {}
        row = Row(record, kind, record.get("class") == MEAN or record["dataset"] not in multiclass_datasets)
        for name in names:
            low, high, level = intervals.get((*_key(record), name), ("", "", ""))
            cell = Cell(_rounded(record[name], name), record[name])
            cell.spread = f"± {_rounded(spread[name], name)}" if spread.get(name) else ""
            if low and high and cell.text and kind != "mean":
                cell.interval = f"[{_rounded(low, name)}, {_rounded(high, name)}]"
                levels.add(level)
            row.cells.append(cell)
        rows.append(row)
    _mark_best(rows, columns, images or {})
    return Board(
        columns, rows, ", ".join(f"{level:.0%}" for level in sorted({float(level) for level in levels if level}))
    )


def _key(row: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(row.get(name, "") for name in _ROW)


def _rounded(text: str, name: str) -> str:
    """Round a number for display: three decimals, two for pixels, none for counts."""
    if not text:
        return ""
    digits = 0 if name.endswith("_images") else 2 if name.endswith("_px") else 3
    return f"{float(text):.{digits}f}"


def _mark_best(rows: Sequence[Row], columns: Sequence[Column], images: Mapping[tuple[str, str], str]) -> None:
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        if row.kind != "baseline" and not row.record.get("suspicious"):
            name, split = row.record["experiment"], row.record.get("split", "")
            image_set = images.get((name, split), "" if split == "test" else name)
            groups.setdefault(
                (row.kind, image_set, *(row.record.get(condition, "") for condition in _COMPARABLE)), []
            ).append(row)
    for group in groups.values():
        for index, column in enumerate(columns):
            scored = [row.cells[index] for row in group if row.cells[index].value]
            if column.better == NEITHER or len(scored) < 2:
                continue
            best_of = max if column.better == HIGHER else min
            best = best_of(float(cell.value) for cell in scored)
            for cell in scored:
                cell.best = float(cell.value) == best


def distinct_values(rows: Sequence[Row], name: str) -> list[str]:
    """Return the distinct values of a column, in the order of the rows."""
    return [value for value in dict.fromkeys(row.record.get(name, "") for row in rows) if value]


def comparison_rows(table: pd.DataFrame | None) -> list[dict[str, Any]]:
    """Prepare a table of paired comparisons for the report, with numbers rounded for display."""
    rows: list[Any] = [] if table is None else table.to_dict("records")
    for row in rows:
        row["significant"] = bool(row["p_holm"]) and float(row["p_holm"]) < 0.05
        row |= {name: _rounded(row[name], row["metric"]) for name in ("difference", "low", "high")}
        row |= {name: f"{float(row[name]):.4f}" if row[name] else "" for name in ("p", "p_holm")}
    return rows
