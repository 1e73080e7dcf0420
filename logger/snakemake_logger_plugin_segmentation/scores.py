"""The scores of the leaderboard as a small table for the terminal."""

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

LEADERBOARD = Path("results/leaderboard.csv")
REPORT = Path("results/report.html")

_CONDITIONS = ("split", "region", "averaging")
_PREFERRED = {"split": ("test",), "region": ("fov", "full"), "averaging": ("macro",)}
_MEAN = "mean"  # the class that stands for all of several classes
_HEADER = ("F1 (interval)", "IoU", "MAE")

Record = Mapping[str, str]


def read_leaderboard(path: Path = LEADERBOARD) -> list[Record]:
    """Read the rows of a leaderboard; none if it cannot be read."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error):
        return []


def score_table(records: Sequence[Record]) -> list[tuple[str, ...]]:
    """Return one row for each method, the best first, under a heading for each data set.

    A heading states what the scores were computed on. Rows of single classes, and of other regions and averages than
    the first one, are left out; the leaderboard has them.
    """
    rows: list[tuple[str, ...]] = []
    datasets: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        datasets[record.get("dataset", "")].append(record)
    for dataset, members in datasets.items():
        shown, conditions = members, []
        for column in _CONDITIONS:
            values = list(dict.fromkeys(record.get(column, "") for record in shown))
            value = next((value for value in _PREFERRED[column] if value in values), values[0])
            shown = [record for record in shown if record.get(column, "") == value]
            conditions.append(value)
        classes = {record.get("class", "") for record in shown}
        if _MEAN in classes:
            shown = [record for record in shown if record["class"] == _MEAN]
        split, region, averaging = conditions
        where = f"{split} images, {'field of view' if region == 'fov' else 'whole images'}, {averaging} mean"
        rows.append((f"{dataset}: {where}", *_HEADER))
        rows += _method_rows(shown)
    return rows


def _method_rows(records: Sequence[Record]) -> Iterator[tuple[str, ...]]:
    for record in sorted(records, key=lambda record: -_number(record.get("f1", ""))):
        low, high = record.get("f1_low", ""), record.get("f1_high", "")
        interval = f" ({_short(low)} - {_short(high)})" if low and high else ""
        name = record.get("experiment", "")
        if record.get("statistic") == "mean":
            name += f" (mean of {record.get('runs')})"
        yield (
            name,
            _short(record.get("f1", "")) + interval,
            _short(record.get("iou", "")),
            _short(record.get("mae", "")),
        )


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return -1.0
    return value if value == value else -1.0


def _short(text: str) -> str:
    try:
        return f"{float(text):.3f}"
    except ValueError:
        return "-"
