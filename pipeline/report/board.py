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

ALPHA = 0.05
"""A difference is significant if its corrected p-value is below."""

CONDITIONS = {
    "split": "Split",
    "region": "Region",
    "class": "Class",
    "averaging": "Averaging",
    "scale": "Size",
    "threshold": "Threshold",
    "threshold_source": "Threshold from",
    "empty_masks": "Empty masks",
    LEFT_OUT: "Left out",
    "images": "Images",
}
"""Columns that a score depends on, besides data set and method, with their headings."""

_REGIONS = {"fov": "field of view", "full": "whole image"}


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
    is_main : bool
        Whether it is a mean over test images, inside the field of view if the data set has one.
    cells : list of Cell
        One for each column of scores.
    """

    record: dict[str, str]
    kind: str
    overall: bool
    is_main: bool
    cells: list[Cell] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The method."""
        return self.record["experiment"]

    def condition(self, column: str) -> str:
        """Return the text of one of `CONDITIONS`."""
        text = self.record.get(column, "")
        if column == "region":
            return _REGIONS.get(text, text)
        if column == "threshold":
            is_class = self.record.get("threshold_source") == "argmax"
            return f"{float(text):.3f}" if text else "most probable class" if is_class else "differs"
        if column == "threshold_source" and self.record.get("threshold_metric"):
            return f"{text} ({self.record['threshold_metric']})"
        return f"{text} size" if column == "scale" and text else text


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
    fov_datasets = {row["dataset"] for row in records if row.get("region") == "fov"}
    rows, levels = [], set()
    for record in records:
        kind = "baseline" if is_baseline(record["experiment"]) else record.get("statistic") or "run"
        if kind == "std":
            continue
        spread = spreads.get(_key(record), {}) if kind == "mean" else {}
        region = "fov" if record["dataset"] in fov_datasets else "full"
        row = Row(
            record,
            kind,
            overall=record.get("class") == MEAN or record["dataset"] not in multiclass_datasets,
            is_main=[record.get(key) for key in ("split", "averaging", "region")] == ["test", "macro", region],
        )
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


def heat_tables(board: Board, metric: str = "iou") -> list[dict[str, Any]]:
    """Return the scores of each class, for each data set with several foreground classes, in its main region.

    Returns
    -------
    list of dict
        ``dataset``, ``label`` (of the score), ``classes``, and ``rows``: name, kind and the score of each class as
        text, empty if it has none.
    """
    index = next((i for i, column in enumerate(board.columns) if column.name == metric), None)
    tables: dict[str, dict[str, dict[str, str]]] = {}
    kinds: dict[tuple[str, str], str] = {}
    for row in board.rows:
        if row.is_main and index is not None:
            methods = tables.setdefault(row.record["dataset"], {})
            methods.setdefault(row.name, {})[row.record["class"]] = row.cells[index].text
            kinds[row.record["dataset"], row.name] = row.kind
    heat = []
    for dataset, methods in tables.items():
        classes = list(dict.fromkeys(name for scores in methods.values() for name in scores))
        if MEAN in classes:
            rows = [
                (name, kinds[dataset, name], [scores.get(class_name, "") for class_name in classes])
                for name, scores in methods.items()
            ]
            heat.append({"dataset": dataset, "label": COLUMNS[metric].label, "classes": classes, "rows": rows})
    return heat


def comparison_rows(table: pd.DataFrame | None, methods: Mapping[str, int]) -> list[dict[str, Any]]:
    """Prepare a table of paired comparisons for the report.

    Parameters
    ----------
    table : DataFrame or None
        ``comparisons.csv``, as text.
    methods : mapping of str to int
        The index of each method.

    Returns
    -------
    list of dict
        For each data set, split, region, class and metric these conditions, ``label`` (of the metric), ``lower``
        (whether lower is better), ``comparisons`` (that the p-values are corrected for) and ``pairs``: indices of both
        methods, difference, low, high, p, corrected p (None where there is none) and number of images.
    """
    keys = ["dataset", "split", "region", "class", "metric"]
    families: list[dict[str, Any]] = []
    for conditions, rows in () if table is None else table.groupby(keys, sort=False):
        pairs = [
            [
                *(methods[row[side]] for side in ("a", "b")),
                *(round(float(row[name]), 4) if row[name] else None for name in ("difference", "low", "high")),
                *(round(float(row[name]), 6) if row[name] else None for name in ("p", "p_holm")),
                int(row["images"]),
            ]
            for row in rows.to_dict("records")
            if row["a"] in methods and row["b"] in methods
        ]
        name = str(conditions[-1])
        column = COLUMNS.get(name, Column(name, name, NEITHER))
        shared = {"label": column.label, "lower": column.better == LOWER, "comparisons": rows["comparisons"].iloc[0]}
        families.append({**dict(zip(keys, conditions, strict=True)), **shared, "pairs": pairs})
    return families
