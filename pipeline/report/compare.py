"""Rank experiments by a score, from the tables of the workflow."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.core.errors import ConfigError, PredictionError, Problem
from pipeline.core.manifest import remake_remedy
from pipeline.evaluation.methods import LEFT_OUT, MEAN, is_baseline
from pipeline.report.board import BOUNDS, COLUMNS, LOWER, NEITHER
from pipeline.report.comparisons import COMPARED_METRICS
from pipeline.report.tables import parse_number, read_table, read_tables

LOWER_IS_BETTER = {name for name, column in COLUMNS.items() if column.better == LOWER}
"""Names of scores for which lower is better."""

_NO_SCORE = {*BOUNDS, *(name for name, column in COLUMNS.items() if column.better == NEITHER)}
_ROW = ("dataset", "split", "region", "class", "averaging")
_COPIED = ("threshold_source", "empty_masks", LEFT_OUT, "scale", "origin", "suspicious")
_REQUIRED = ("experiment", "statistic", "runs", *_ROW, "images", "f1")
_DIFFERENCE = ("difference", "difference_low", "difference_high", "p", "p_holm", "comparisons")

Record = dict[str, Any]


@dataclass(frozen=True)
class Ranking:
    """The scores of one data set, best first.

    Parameters
    ----------
    conditions : dict of str to str
        Data set, split, region, class and averaging of all rows.
    metric : str
        The score that the rows are ranked by.
    reference : str or None
        The experiment that the others are compared with: the best one, preferably not suspicious; a baseline only if
        there is nothing else. None if there are no comparisons: these exist for macro averages of some metrics.
    rows : list of dict
        For each experiment ``experiment``, ``statistic``, ``runs``, ``baseline``, ``images``, ``threshold``,
        ``threshold_source``, ``empty_masks``, ``left_out``, ``scale``, ``origin``, ``suspicious``; the scores; ``low``
        and ``high``, the interval of `metric`, or ``std``, its standard deviation over runs; ``reference``, and the
        ``difference`` to it with ``difference_low``, ``difference_high``, ``p``, ``p_holm`` and ``comparisons``.
        Missing values are None.
    scores : list of str
        Names of the columns that are scores.
    same_images : bool
        Whether all rows were scored on the same images; folds are validated on different images.
    """

    conditions: dict[str, str]
    metric: str
    reference: str | None
    rows: list[Record]
    scores: list[str]
    same_images: bool


def rank(
    *,
    leaderboard: Path,
    comparisons: Path,
    metrics: Path,
    experiments: Sequence[str] = (),
    dataset: str | None = None,
    split: str = "test",
    region: str | None = None,
    averaging: str = "macro",
    class_name: str | None = None,
    metric: str = "f1",
) -> list[Ranking]:
    """Rank experiments by the tables that the workflow wrote.

    Parameters
    ----------
    leaderboard, comparisons : Path
        CSV files of the workflow.
    metrics : Path
        Folder with a subfolder for each experiment, which contains ``intervals.csv``.
    experiments : sequence of str
        Names of the experiments to rank; empty for all.
    dataset, class_name : str, optional
        By default all data sets; the mean over the foreground classes, or the only class.
    region : {'fov', 'full'}, optional
        By default the field of view if a data set has one, else the full image.
    split, averaging, metric : str

    Returns
    -------
    list of Ranking
        One for each data set that has matching rows.

    Raises
    ------
    PredictionError
        If there are no results, or a table is damaged.
    ConfigError
        If an experiment is unknown, or no row matches; the message lists the known values.
    """
    board = _leaderboard(leaderboard)
    scores = [name for name in board.loc[:, "images":].columns[1:] if name not in _NO_SCORE]
    problems = [_unknown_value(name, "experiment", board["experiment"]) for name in dict.fromkeys(experiments)]
    problems += [_unknown_value(metric, "--metric", scores), _unknown_value(dataset, "--dataset", board["dataset"])]
    if unknown_problems := [problem for problem in problems if problem is not None]:
        raise ConfigError(unknown_problems)
    selected = board[board["experiment"].isin(experiments)] if experiments else board
    paired = _comparisons(comparisons)
    rankings = []
    for name, dataset_rows in selected.groupby("dataset", sort=False):
        regions, classes = set(dataset_rows["region"]), set(dataset_rows["class"])
        conditions = {
            "dataset": str(name),
            "split": split,
            "region": region or ("fov" if "fov" in regions else "full"),
            "class": class_name or (MEAN if MEAN in classes else min(classes)),
            "averaging": averaging,
        }
        rows = dataset_rows[(dataset_rows[list(conditions)] == pd.Series(conditions)).all(axis=1)]
        if dataset in (None, name) and len(rows):
            rankings.append(_ranking(conditions, rows, scores, metric, paired, metrics))
    if not rankings:
        requested = {"dataset": dataset, "split": split, "region": region, "class": class_name, "averaging": averaging}
        known_values = [f"{key} {', '.join(dict.fromkeys(selected[key]))}" for key in requested]
        conditions_text = ", ".join(f"{key} {value}" for key, value in requested.items() if value is not None)
        raise ConfigError(
            str(leaderboard), f"no row of {conditions_text}", "; ".join(known_values), "choose from these values"
        )
    return rankings


def _leaderboard(path: Path) -> pd.DataFrame:
    expected, remedy = "the scores of all experiments", "run `snakemake --cores all`"
    if not path.exists():
        raise PredictionError(str(path), "no such file", expected, remedy)
    board = read_table(path)
    if not len(board):
        expected = "a data set with masks, to score on"
        raise PredictionError(str(path), "no rows", expected, f"add one to the configuration and {remedy}")
    if missing_columns := [name for name in _REQUIRED if name not in board]:
        raise PredictionError(
            str(path), f"a table without {', '.join(missing_columns)}", expected, remake_remedy(path, remedy)
        )
    return board


def _unknown_value(name: str | None, option: str, known_names: Sequence[str] | pd.Series) -> Problem | None:
    unique_names = list(dict.fromkeys(known_names))
    if name is None or name in unique_names:
        return None
    return Problem(
        option, repr(name), f"one of {', '.join(unique_names)}", "correct the name, or run `snakemake --cores all`"
    )


def _comparisons(path: Path) -> dict[tuple[str, ...], dict[str, str]]:
    """Read the table of comparisons, keyed by conditions, metric and both names; empty if there is none."""
    keys = ("dataset", "split", "region", "class", "metric", "a", "b")
    rows: list[Any] = read_table(path).to_dict("records") if path.exists() else []
    return {tuple(row[key] for key in keys): row for row in rows}


def _ranking(
    conditions: dict[str, str],
    rows: pd.DataFrame,
    scores: Sequence[str],
    metric: str,
    paired: dict[tuple[str, ...], dict[str, str]],
    metrics: Path,
) -> Ranking:
    std_rows = {row["experiment"]: row for row in rows[rows["statistic"] == "std"].to_dict("records")}
    score_names = [name for name in scores if (rows[name] != "").any()]
    records: list[Record] = []
    for row in rows[rows["statistic"] != "std"].to_dict("records"):
        name = row["experiment"]
        is_mean = row["statistic"] == "mean"
        low, high = (None, None) if is_mean else _interval(metrics / name / "intervals.csv", conditions, metric)
        records.append(
            {
                "experiment": name,
                "statistic": row["statistic"],
                "runs": int(row["runs"]),
                "baseline": is_baseline(name),
                # None for a mean over folds: each network is validated on its own images
                "images": int(row["images"]) if row["images"] else None,
                "threshold": parse_number(row.get("threshold")),
                **{key: row.get(key, "") for key in _COPIED},
                "low": low,
                "high": high,
                "std": parse_number(std_rows[name][metric]) if is_mean and name in std_rows else None,
                "reference": None,
                **dict.fromkeys(_DIFFERENCE),
                **{key: parse_number(row[key]) for key in score_names},
            }
        )
    sign = 1 if metric in LOWER_IS_BETTER else -1
    records.sort(
        key=lambda record: (record.get(metric) is None, sign * (record.get(metric) or 0), record["experiment"])
    )
    single_runs = [record for record in records if record["statistic"] == "run" and record.get(metric) is not None]
    # min returns the first of equal records, and these are sorted by their score
    best = min(single_runs, key=lambda record: (record["baseline"], bool(record["suspicious"])), default=None)
    reference = None
    if best is not None and metric in COMPARED_METRICS and conditions["averaging"] == "macro":
        reference = str(best["experiment"])
        for record in records:
            record |= {
                "reference": reference,
                **_difference(conditions, metric, record["experiment"], reference, paired),
            }
    return Ranking(conditions, metric, reference, records, score_names, _same_images(metrics, conditions, records))


def _same_images(metrics: Path, conditions: dict[str, str], records: Sequence[Record]) -> bool:
    """Return whether all experiments were scored on the same images."""
    if len({record["images"] for record in records}) > 1:
        return False
    if conditions["split"] == "test":  # the same for all experiments of a data set
        return True
    files = [metrics / record["experiment"] / "per_image.csv" for record in records if record["statistic"] == "run"]
    files = [path for path in files if path.exists()]
    tables = read_tables(files)
    problems = [
        Problem(
            str(path),
            "a table without split or id",
            "the scores of images",
            remake_remedy(path, "run `snakemake metrics`"),
        )
        for path, table in zip(files, tables, strict=True)
        if not {"split", "id"} <= set(table)
    ]
    if problems:
        raise PredictionError(problems)
    return len({frozenset(table.loc[table["split"] == conditions["split"], "id"]) for table in tables}) < 2


def _interval(path: Path, conditions: dict[str, str], metric: str) -> tuple[float | None, float | None]:
    """Return the interval of a score; (None, None) if there is none."""
    rows = read_table(path).to_dict("records") if path.exists() else []
    requested = {**conditions, "metric": metric}
    return next(
        (
            (parse_number(row["low"]), parse_number(row["high"]))
            for row in rows
            if all(row[key] == requested[key] for key in requested)
        ),
        (None, None),
    )


def _difference(
    conditions: dict[str, str], metric: str, name: str, reference: str, paired: dict[tuple[str, ...], dict[str, str]]
) -> Record:
    """Return the difference from the reference, or nothing if the pair was not compared.

    The sign is inverted if the table has the pair in the other order.
    """
    conditions_key = (*(conditions[key] for key in ("dataset", "split", "region", "class")), metric)
    for pair, sign in (((name, reference), 1), ((reference, name), -1)):
        row = paired.get((*conditions_key, *pair))
        if row is not None:
            # adding 0.0 turns -0.0 into 0.0
            signed = [
                None if (number := parse_number(row[key])) is None else sign * number + 0.0
                for key in ("difference", *("low", "high")[::sign])
            ]
            values = (*signed, parse_number(row["p"]), parse_number(row["p_holm"]), int(row["comparisons"]))
            return dict(zip(_DIFFERENCE, values, strict=True))
    return {}
