"""Mean and standard deviation of the scores of an experiment with several seeds or folds."""

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline.core.errors import PredictionError, Problem, plural
from pipeline.core.manifest import remake_remedy
from pipeline.core.progress import log
from pipeline.core.tables import write_table
from pipeline.evaluation.methods import LEFT_OUT
from pipeline.report.recipes import AverageRecipe
from pipeline.report.tables import read_tables, summary_problem

STATISTICS = ("run", "mean", "std")
"""Kinds of rows in a table of scores: a network's score; mean and standard deviation over several networks."""

_ROW = ("dataset", "split", "region", "class", "averaging")
_LAST_CONDITION = "images"  # the columns of a summary to the right of it are scores
_INTERVAL = ("f1_low", "f1_high")  # bounds of the interval of one network's score


def average_runs(recipe: AverageRecipe, *, experiment: str, summaries: Sequence[Path], output: Path) -> None:
    """Write the mean and the standard deviation of the scores of several runs, two rows for each row of a summary.

    Parameters
    ----------
    recipe : AverageRecipe
    experiment : str
        The experiment of the runs.
    summaries : sequence of Path
        The ``summary.csv`` files of the runs, in the same order.
    output : Path
        CSV file with the columns of a summary and, after ``experiment``, ``statistic`` (``mean`` or ``std``) and
        ``runs``, the number of networks n. ``std`` is the sample standard deviation, sqrt(sum((x - mean)^2) / (n - 1)),
        of the scores in the summaries (6 decimals); it is empty for a single run. A score that any run lacks is empty,
        and so is a condition that differs between runs, such as a threshold chosen for each of them.
        The number of validation images is empty with folds, because each network has its own validation images.
        The bounds of intervals are empty: they describe the uncertainty of one network's score over images, not the
        spread over networks.

    Raises
    ------
    PredictionError
        If a summary is missing, is not a table, is of another experiment or has other rows than the first.
    """
    runs, tables = recipe.runs, read_tables(summaries)
    order = f"name the summary.csv of each run once, in this order: {', '.join(runs)}"
    if len(summaries) != len(runs):
        where = ", ".join(map(str, summaries))
        raise PredictionError(where, plural(len(summaries), "file"), f"{plural(len(runs), 'file')}, one a run", order)
    problems = []
    for path, run, table in zip(summaries, runs, tables, strict=True):
        expected = f"the scores of {run!r}, with the same rows as {summaries[0]}"
        if problem := summary_problem(path, table):
            problems.append(problem)
            continue
        if other_names := sorted({*table["experiment"]} - {run}):
            found, remedy = f"scores of {', '.join(map(repr, other_names))}", order
        elif damage := _damage(table):
            remake = f"snakemake metrics_{experiment}"
            found, remedy = damage, remake_remedy(path, f"name the summary.csv of {run!r}", remake)
        elif set(_ROW) <= set(tables[0]) and not table[list(_ROW)].equals(tables[0][list(_ROW)]):
            found = "rows (split, region, class, averaging) that differ from those of the first summary"
            remedy = "score all runs on the same splits and classes"
        else:
            continue
        problems.append(Problem(str(path), found, expected, remedy))
    if problems:
        raise PredictionError(problems)
    joined = pd.concat(tables, ignore_index=True)
    scores = _score_columns(joined)
    conditions = [name for name in joined.columns if name not in ("experiment", *scores)]
    rows = []
    for _, group in joined.groupby([joined[name] for name in _ROW], sort=False):
        shared_conditions = {name: group[name].iloc[0] if group[name].nunique() == 1 else "" for name in conditions}
        if recipe.folds and shared_conditions["split"] == "validation":
            shared_conditions["images"] = ""
        if LEFT_OUT in group:  # by any run: such a class has no mean score
            names = (name for cell in group[LEFT_OUT] for name in cell.split("; ") if name)
            shared_conditions[LEFT_OUT] = "; ".join(dict.fromkeys(names))
        group_scores = group[scores].apply(pd.to_numeric)
        for statistic, values in (
            ("mean", group_scores.mean(skipna=False)),
            ("std", group_scores.std(ddof=1, skipna=False)),
        ):
            keys = {"experiment": experiment, "statistic": statistic, "runs": len(runs)}
            empty_interval = {name: math.nan for name in _INTERVAL if name in values}
            rows.append({**keys, **shared_conditions, **values.to_dict(), **empty_interval})
        mean, spread = rows[-2]["f1"], rows[-1]["f1"]
        row_label = ", ".join(group[name].iloc[0] for name in _ROW[1:])
        log(f"{experiment}, {row_label}: F1 {mean:.4f}, standard deviation {spread:.4f} over {len(runs)} runs")
    write_table(output, pd.DataFrame(rows))


def _damage(table: pd.DataFrame) -> str:
    """Return what is wrong with a summary; empty if nothing."""
    if _LAST_CONDITION not in table:
        return f"a table without {_LAST_CONDITION}"
    if not len(table):
        return "no rows"
    cells = {cell for name in _score_columns(table) for cell in table[name] if cell}
    invalid_scores = sorted(cell for cell in cells if pd.isna(pd.to_numeric(cell, errors="coerce")))
    return f"scores that are not numbers: {', '.join(map(repr, invalid_scores))}" if invalid_scores else ""


def _score_columns(table: pd.DataFrame) -> list[str]:
    columns = list(table.columns)
    return columns[columns.index(_LAST_CONDITION) + 1 :]
