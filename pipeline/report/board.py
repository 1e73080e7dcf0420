"""The leaderboard as the page shows it: what stands in each cell, and which of comparable rows is best."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd

from pipeline.evaluation.contours import HAUSDORFF
from pipeline.evaluation.curves import MAX_F
from pipeline.evaluation.methods import MEAN, is_baseline
from pipeline.evaluation.metrics import METRICS, Shown

MORE, LESS, NEITHER = "higher is better", "lower is better", ""


class Column(NamedTuple):
    """A column of scores: its heading, which way is better, and whether it is shown at first, and on narrow screens."""

    name: str
    label: str
    better: str
    shown: bool = False
    narrow: bool = False

    @property
    def title(self) -> str:
        """What its heading explains."""
        return f"{self.name}: {self.better}" if self.better else self.name


_OF_METRICS = [
    Column(
        name, one.label, LESS if one.lower_is_better else MORE, one.shown >= Shown.PAGE, one.shown >= Shown.NARROW_PAGE
    )
    for name, one in METRICS.items()
]
COLUMNS = {
    column.name: column
    for column in (
        *sorted(_OF_METRICS, key=lambda column: not column.shown),
        Column(f"{HAUSDORFF}_images", "Images with HD95", NEITHER),
        Column("f1_sd", "F1, sd over images", NEITHER),
        *(Column(name, label, MORE) for name, (label, _, _) in MAX_F.items()),
        Column("oracle_f1", "Oracle F1 (no result)", NEITHER),
        Column("oracle_threshold", "Oracle threshold", NEITHER),
    )
}
"""Columns of scores in the order of the page: first those that it shows before anybody asks."""

BOUNDS = ("f1_low", "f1_high")
"""Columns of the interval of F1, which the page shows below the score, with all other intervals."""

_COMPARABLE = ("dataset", "origin", "split", "region", "class", "averaging", "scale", "empty_masks", "images")
"""Rows can be compared where all of these are the same."""

_ROW = ("experiment", "dataset", "split", "region", "class", "averaging")
_CONDITIONS = (
    *("experiment", "statistic", "runs", "dataset", "layout", "origin", "excluded", "leak", "suspicious", "split"),
    *("region", "class", "scale", "threshold", "threshold_source", "threshold_metric", "mask_binarization"),
    *("probability_levels", "empty_masks", "averaging", "images"),
)


@dataclass
class Cell:
    """A score: its number as text, what it is sorted by, and what is said about its uncertainty."""

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
    said : dict of str to str
        The conditions, by column.
    kind : str
        ``"baseline"``, ``"mean"`` (of several networks) or ``"run"``.
    overall : bool
        Whether it is about the only foreground class, or the mean over several.
    cells : list of Cell
        One for each column of scores.
    """

    said: dict[str, str]
    kind: str
    overall: bool
    cells: list[Cell] = field(default_factory=list)


@dataclass
class Board:
    """All rows, the columns of their scores, and the level of the intervals, such as ``95 %``, where there are any."""

    columns: list[Column]
    rows: list[Row]
    level: str = ""


def build_board(
    table: pd.DataFrame,
    intervals: Mapping[tuple[str, ...], tuple[str, str, str]],
    images: Mapping[tuple[str, str], str] | None = None,
) -> Board:
    """Prepare a leaderboard for the page.

    The standard deviation over several networks stands in the row of their mean. The best of a column is marked among
    rows that can be compared: of the same images, region, class, averaging, scale and policy for empty masks, networks
    and ensembles with each other, means with means. Baselines and rows in doubt are never best, nor is any ``oracle``
    column, nor the only one of its kind.

    Parameters
    ----------
    table : DataFrame
        ``leaderboard.csv``, as text.
    intervals : mapping
        See `pipeline.report.sources.read_intervals`.
    images : mapping, optional
        Experiment and split to a text that is the same for the same images. Validation samples of a fold are those of
        no other fold: where such rows are not in it, as means are not, they are compared with nothing.
    """
    names = [name for name in table.columns if name not in (*_CONDITIONS, *BOUNDS)]
    names.sort(key=lambda name: [*COLUMNS, name].index(name))
    columns = [COLUMNS.get(name, Column(name, name.replace("_", " "), NEITHER)) for name in names]
    records = [{str(key): str(value) for key, value in row.items()} for row in table.to_dict("records")]
    spreads = {_key(row): row for row in records if row.get("statistic") == "std"}
    several = {row["dataset"] for row in records if row.get("class") == MEAN}
    rows, levels = [], set()
    for said in records:
        kind = "baseline" if is_baseline(said["experiment"]) else said.get("statistic") or "run"
        if kind == "std":
            continue
        spread = spreads.get(_key(said), {}) if kind == "mean" else {}
        row = Row(said, kind, said.get("class") == MEAN or said["dataset"] not in several)
        for name in names:
            low, high, level = intervals.get((*_key(said), name), ("", "", ""))
            cell = Cell(_short(said[name], name), said[name])
            cell.spread = f"± {_short(spread[name], name)}" if spread.get(name) else ""
            if low and high and cell.text and kind != "mean":
                cell.interval = f"[{_short(low, name)}, {_short(high, name)}]"
                levels.add(level)
            row.cells.append(cell)
        rows.append(row)
    _mark_best(rows, columns, images or {})
    return Board(columns, rows, ", ".join(f"{float(level):.0%}" for level in sorted(filter(None, levels))))


def _key(row: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(row.get(name, "") for name in _ROW)


def _short(text: str, name: str) -> str:
    """Round a number of a table for people: three decimals, two of pixels, none of counts."""
    if not text:
        return ""
    digits = 0 if name.endswith("_images") else 2 if name.endswith("_px") else 3
    return f"{float(text):.{digits}f}"


def _mark_best(rows: Sequence[Row], columns: Sequence[Column], images: Mapping[tuple[str, str], str]) -> None:
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        if row.kind != "baseline" and not row.said.get("suspicious"):
            name, split = row.said["experiment"], row.said.get("split", "")
            same = images.get((name, split), "" if split == "test" else name)
            groups.setdefault((row.kind, same, *(row.said.get(said, "") for said in _COMPARABLE)), []).append(row)
    for group in groups.values():
        for index, column in enumerate(columns):
            scored = [row.cells[index] for row in group if row.cells[index].value]
            if column.better == NEITHER or len(scored) < 2:
                continue
            choose = max if column.better == MORE else min
            best = choose(float(cell.value) for cell in scored)
            for cell in scored:
                cell.best = float(cell.value) == best


def choices(rows: Sequence[Row], name: str) -> list[str]:
    """Return the different values of a condition, in the order of the rows."""
    return [value for value in dict.fromkeys(row.said.get(name, "") for row in rows) if value]


def compared(table: pd.DataFrame | None) -> list[dict[str, Any]]:
    """Prepare a table of paired comparisons for the page, the same numbers with fewer digits."""
    rows: list[Any] = [] if table is None else table.to_dict("records")
    for row in rows:
        row["significant"] = bool(row["p_holm"]) and float(row["p_holm"]) < 0.05
        row |= {name: _short(row[name], row["metric"]) for name in ("difference", "low", "high")}
        row |= {name: f"{float(row[name]):.4f}" if row[name] else "" for name in ("p", "p_holm")}
    return rows
