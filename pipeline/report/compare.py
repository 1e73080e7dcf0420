"""The scores of experiments side by side, best first: read from the results, for a person or a program to read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.core.errors import ConfigError, PredictionError, Problem
from pipeline.evaluation.methods import MEAN, is_baseline
from pipeline.report.board import BOUNDS, COLUMNS, LESS, NEITHER
from pipeline.report.comparisons import COMPARED
from pipeline.report.tables import number, read_table, read_tables

LOWER = {name for name, column in COLUMNS.items() if column.better == LESS}
"""Scores of which less is better."""

_NO_SCORE = {*BOUNDS, *(name for name, column in COLUMNS.items() if column.better == NEITHER)}
_ROW = ("dataset", "split", "region", "class", "averaging")
_SAID = ("threshold_source", "empty_masks", "scale", "origin", "suspicious")
_NEEDED = ("experiment", "statistic", "runs", *_ROW, "images", "f1")
_DIFFERENCE = ("difference", "difference_low", "difference_high", "p", "p_holm", "comparisons")

Record = dict[str, Any]


@dataclass(frozen=True)
class Ranking:
    """The scores of one data set, best first.

    Parameters
    ----------
    said : dict of str to str
        What all of them have in common: data set, split, region, class, averaging.
    metric : str
        What they are ranked by.
    reference : str or None
        The best experiment, of those that are not in doubt where there is one, which the others are compared with; a
        baseline only where there is nothing else. None where no comparison is known: they are of single images'
        scores, and of some metrics.
    rows : list of dict
        For each experiment ``experiment``, ``statistic``, ``runs``, ``baseline``, ``images``, ``threshold``,
        ``threshold_source``, ``empty_masks``, ``scale``, ``origin``, ``suspicious``; the scores; ``low`` and ``high``,
        the interval of `metric`, or ``std``, its spread over runs; ``reference``, and the ``difference`` to it with
        ``difference_low``, ``difference_high``, ``p``, ``p_holm`` and ``comparisons``. None is what does not exist.
    scores : list of str
        Which columns are scores.
    same_images : bool
        Whether all of them were scored on the same images; folds are validated on different ones.
    """

    said: dict[str, str]
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
    """Read the scores of some experiments from the results of the workflow.

    Parameters
    ----------
    leaderboard, comparisons : Path
        CSV files of the workflow.
    metrics : Path
        Folder of a folder with ``intervals.csv`` for each experiment.
    experiments : sequence of str
        Which of them; none means all.
    dataset, class_name : str, optional
        All data sets; the mean over the foreground classes, or the only one.
    region : {'fov', 'full'}, optional
        The field of view where a data set has one.
    split, averaging, metric : str

    Returns
    -------
    list of Ranking
        One for each data set that has such rows.

    Raises
    ------
    PredictionError
        If there are no results, or a table is damaged.
    ConfigError
        If an experiment is unknown, or nothing has such rows; it says what there is.
    """
    board = _leaderboard(leaderboard)
    scores = [name for name in board.loc[:, "images":].columns[1:] if name not in _NO_SCORE]
    problems = [_unknown(name, "experiment", board["experiment"]) for name in dict.fromkeys(experiments)]
    problems += [_unknown(metric, "--metric", scores), _unknown(dataset, "--dataset", board["dataset"])]
    if found := [problem for problem in problems if problem is not None]:
        raise ConfigError(found)
    named = board[board["experiment"].isin(experiments)] if experiments else board
    paired = _comparisons(comparisons)
    rankings = []
    for name, of_dataset in named.groupby("dataset", sort=False):
        regions, classes = set(of_dataset["region"]), set(of_dataset["class"])
        said = {
            "dataset": str(name),
            "split": split,
            "region": region or ("fov" if "fov" in regions else "full"),
            "class": class_name or (MEAN if MEAN in classes else min(classes)),
            "averaging": averaging,
        }
        rows = of_dataset[(of_dataset[list(said)] == pd.Series(said)).all(axis=1)]
        if dataset in (None, name) and len(rows):
            rankings.append(_ranking(said, rows, scores, metric, paired, metrics))
    if not rankings:
        asked = {"dataset": dataset, "split": split, "region": region, "class": class_name, "averaging": averaging}
        there = [f"{key} {', '.join(dict.fromkeys(named[key]))}" for key in asked]
        words = ", ".join(f"{key} {value}" for key, value in asked.items() if value is not None)
        raise ConfigError(str(leaderboard), f"no row of {words}", "; ".join(there), "ask for one of these")
    return rankings


def _leaderboard(path: Path) -> pd.DataFrame:
    expected, remedy = "the scores of all experiments", "run `snakemake --cores all`"
    if not path.exists():
        raise PredictionError(str(path), "no such file", expected, remedy)
    board = read_table(path)
    if not len(board):
        expected = "a data set with masks, to score on"
        raise PredictionError(str(path), "no rows", expected, f"add one to the configuration and {remedy}")
    if lacking := [name for name in _NEEDED if name not in board]:
        raise PredictionError(str(path), f"a table without {', '.join(lacking)}", expected, f"delete it and {remedy}")
    return board


def _unknown(name: str | None, where: str, known: Sequence[str] | pd.Series) -> Problem | None:
    names = list(dict.fromkeys(known))
    if name is None or name in names:
        return None
    return Problem(where, repr(name), f"one of {', '.join(names)}", "correct the name, or run `snakemake --cores all`")


def _comparisons(path: Path) -> dict[tuple[str, ...], dict[str, str]]:
    """Read the table of pairs, by what was compared and both names; empty where there is none."""
    keys = ("dataset", "split", "region", "class", "metric", "a", "b")
    rows: list[Any] = read_table(path).to_dict("records") if path.exists() else []
    return {tuple(row[key] for key in keys): row for row in rows}


def _ranking(
    said: dict[str, str],
    rows: pd.DataFrame,
    scores: Sequence[str],
    metric: str,
    paired: dict[tuple[str, ...], dict[str, str]],
    metrics: Path,
) -> Ranking:
    spreads = {row["experiment"]: row for row in rows[rows["statistic"] == "std"].to_dict("records")}
    shown = [name for name in scores if (rows[name] != "").any()]
    records: list[Record] = []
    for row in rows[rows["statistic"] != "std"].to_dict("records"):
        name = row["experiment"]
        several = row["statistic"] == "mean"
        low, high = (None, None) if several else _interval(metrics / name / "intervals.csv", said, metric)
        records.append(
            {
                "experiment": name,
                "statistic": row["statistic"],
                "runs": int(row["runs"]),
                "baseline": is_baseline(name),
                # of a mean over folds nothing: each network is validated on its own images
                "images": int(row["images"]) if row["images"] else None,
                "threshold": number(row.get("threshold")),
                **{key: row.get(key, "") for key in _SAID},
                "low": low,
                "high": high,
                "std": number(spreads[name][metric]) if several and name in spreads else None,
                "reference": None,
                **dict.fromkeys(_DIFFERENCE),
                **{key: number(row[key]) for key in shown},
            }
        )
    sign = 1 if metric in LOWER else -1
    records.sort(key=lambda one: (one.get(metric) is None, sign * (one.get(metric) or 0), one["experiment"]))
    runs = [one for one in records if one["statistic"] == "run" and one.get(metric) is not None]
    best = min(runs, key=lambda one: (one["baseline"], bool(one["suspicious"])), default=None)  # the first of its kind
    reference = None
    if best is not None and metric in COMPARED and said["averaging"] == "macro":
        reference = str(best["experiment"])
        for one in records:
            one |= {"reference": reference, **_difference(said, metric, one["experiment"], reference, paired)}
    return Ranking(said, metric, reference, records, shown, _same_images(metrics, said, records))


def _same_images(metrics: Path, said: dict[str, str], records: Sequence[Record]) -> bool:
    """Tell whether all were scored on the same images, where the number of them does not tell otherwise."""
    if len({one["images"] for one in records}) > 1:
        return False
    if said["split"] == "test":  # one for all experiments of a data set
        return True
    files = [metrics / one["experiment"] / "per_image.csv" for one in records if one["statistic"] == "run"]
    files = [path for path in files if path.exists()]
    tables = read_tables(files)
    problems = [
        Problem(str(path), "a table without split or id", "the scores of images", "delete it and run snakemake again")
        for path, table in zip(files, tables, strict=True)
        if not {"split", "id"} <= set(table)
    ]
    if problems:
        raise PredictionError(problems)
    return len({frozenset(table.loc[table["split"] == said["split"], "id"]) for table in tables}) < 2


def _interval(path: Path, said: dict[str, str], metric: str) -> tuple[float | None, float | None]:
    """Look the interval of a score up; nothing where there is none."""
    rows = read_table(path).to_dict("records") if path.exists() else []
    asked = {**said, "metric": metric}
    return next(
        ((number(row["low"]), number(row["high"])) for row in rows if all(row[key] == asked[key] for key in asked)),
        (None, None),
    )


def _difference(
    said: dict[str, str], metric: str, name: str, reference: str, paired: dict[tuple[str, ...], dict[str, str]]
) -> Record:
    """Return the difference to the reference, as comparisons know it in one direction or the other."""
    what = (*(said[key] for key in ("dataset", "split", "region", "class")), metric)
    for pair, sign in (((name, reference), 1), ((reference, name), -1)):
        row = paired.get((*what, *pair))
        if row is not None:
            # 0.0: no minus before a zero
            signed = [
                None if (end := number(row[key])) is None else sign * end + 0.0 for key in ("low", "high")[::sign]
            ]
            difference = sign * (number(row["difference"]) or 0.0) + 0.0
            values = (difference, *signed, number(row["p"]), number(row["p_holm"]), int(row["comparisons"]))
            return dict(zip(_DIFFERENCE, values, strict=True))
    return {}
