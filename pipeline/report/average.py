"""Mean and spread of an experiment that was trained from several seeds."""

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline.core.errors import PredictionError, Problem
from pipeline.core.progress import log
from pipeline.core.tables import write_table
from pipeline.report.recipes import AverageRecipe
from pipeline.report.tables import read_tables

STATISTICS = ("run", "mean", "std")
"""What a row of a table of scores is: a network's score; mean and standard deviation over several networks."""

_ROW = ("dataset", "split", "region", "class", "averaging")
_LAST_CONDITION = "images"  # of a summary: what stands behind it are scores
_ENDS = ("f1_low", "f1_high")  # of the interval of one network's score


def average_runs(recipe: AverageRecipe, *, experiment: str, summaries: Sequence[Path], output: Path) -> None:
    """Write the mean and the standard deviation of the scores of several runs: two rows for each row of theirs.

    Parameters
    ----------
    recipe : AverageRecipe
    experiment : str
        Whose runs they are.
    summaries : sequence of Path
        Their ``summary.csv`` files, in the same order.
    output : Path
        CSV file with the columns of a summary and, behind ``experiment``, ``statistic`` (``mean`` or ``std``) and
        ``runs``, the number of networks n. ``std`` is the sample standard deviation, sqrt(sum((x - mean)^2) / (n - 1)),
        of the scores as they stand in the summaries (6 decimals); a single run has none. A score that any of the runs
        lacks is empty, and so is a condition in which they differ, such as a threshold chosen for each of them.
        The number of validation images is empty where there are folds, because each network has its own.
        The ends of intervals are empty: they say how far one network's score may be off because other images could
        have been taken, which is not what the spread over networks tells.

    Raises
    ------
    PredictionError
        If a summary is missing, is no table, is of another experiment or has other rows than the first.
    """
    runs, tables = recipe.runs, read_tables(summaries)
    expected, remedy = (
        "the scores of {!r}, with the same rows as {}",
        f"delete it and run `snakemake metrics_{experiment}`",
    )
    problems = [
        Problem(str(path), problem, expected.format(run, summaries[0]), remedy)
        for path, run, table in zip(summaries, runs, tables, strict=True)
        if (problem := _misfit(table, run, tables[0]))
    ]
    if problems:
        raise PredictionError(problems)
    joined = pd.concat(tables, ignore_index=True)
    scores = _scores_of(joined)
    conditions = [name for name in joined.columns if name not in ("experiment", *scores)]
    rows = []
    for _, same in joined.groupby([joined[name] for name in _ROW], sort=False):
        said = {name: same[name].iloc[0] if same[name].nunique() == 1 else "" for name in conditions}
        if recipe.folds and said["split"] == "validation":
            said["images"] = ""
        numbers = same[scores].apply(pd.to_numeric)
        for statistic, values in (("mean", numbers.mean(skipna=False)), ("std", numbers.std(ddof=1, skipna=False))):
            head = {"experiment": experiment, "statistic": statistic, "runs": len(runs)}
            ends = {name: math.nan for name in _ENDS if name in values}
            rows.append({**head, **said, **values.to_dict(), **ends})
        mean, spread = rows[-2]["f1"], rows[-1]["f1"]
        where = ", ".join(same[name].iloc[0] for name in _ROW[1:])
        log(f"{experiment}, {where}: F1 {mean:.4f}, standard deviation {spread:.4f} over {len(runs)} runs")
    write_table(output, pd.DataFrame(rows))


def _misfit(table: pd.DataFrame, run: str, first: pd.DataFrame) -> str:
    """Say why a summary cannot be averaged with the first one; empty where it can."""
    lacking = [name for name in ("experiment", *_ROW, _LAST_CONDITION, "f1") if name not in table]
    if lacking:
        return f"a table without {', '.join(lacking)}"
    others = sorted({*table["experiment"]} - {run})
    if others or not len(table):
        return f"scores of {', '.join(map(repr, others))}" if others else "no rows"
    if not set(_ROW) <= set(first) or not table[list(_ROW)].equals(first[list(_ROW)]):
        return "other rows"
    cells = {cell for name in _scores_of(table) for cell in table[name] if cell}
    words = sorted(cell for cell in cells if pd.isna(pd.to_numeric(cell, errors="coerce")))
    return f"scores that are no numbers: {', '.join(map(repr, words))}" if words else ""


def _scores_of(table: pd.DataFrame) -> list[str]:
    columns = list(table.columns)
    return columns[columns.index(_LAST_CONDITION) + 1 :]
