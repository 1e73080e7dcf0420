"""Read tables of scores, as text, and training histories."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from pipeline.core.errors import PredictionError, Problem, TrainingError
from pipeline.core.manifest import remake_remedy

_SUMMARY_COLUMNS = ("experiment", "dataset", "split", "region", "class", "averaging", "f1")
_CURVE_COLUMN = "level"  # of tables that have the columns of a summary, too


def read_tables(files: Sequence[Path]) -> list[pd.DataFrame]:
    """Read ``summary.csv`` files as text: experiments named 007 or NA keep their name, and numbers keep their digits.

    Raises
    ------
    PredictionError
        Listing every file that is missing or is not a table.
    """
    tables, problems = [], []
    for path in files:
        try:
            tables.append(pd.read_csv(path, dtype=str, keep_default_na=False))
        except (OSError, ValueError) as error:
            remedy = remake_remedy(path, "name the summary.csv of a method")
            problems.append(Problem(str(path), str(error), "a summary table", remedy))
    if problems:
        raise PredictionError(problems)
    return tables


def read_summaries(files: Sequence[Path]) -> list[pd.DataFrame]:
    """Read ``summary.csv`` files, see `read_tables`, and refuse other tables.

    Raises
    ------
    PredictionError
        Listing every file that is missing or damaged, or is no summary.
    """
    tables = read_tables(files)
    if problems := [
        problem for path, table in zip(files, tables, strict=True) if (problem := summary_problem(path, table))
    ]:
        raise PredictionError(problems)
    pairs = zip(files, tables, strict=True)
    if problems := [problem for path, table in pairs for problem in number_problems(path, table, ["f1"])]:
        raise PredictionError(problems)
    return tables


def summary_problem(path: Path, table: pd.DataFrame) -> Problem | None:
    """Return the problem of a table of another kind, which may be right and is not to be deleted; None if a summary."""
    missing_columns = [name for name in _SUMMARY_COLUMNS if name not in table]
    if not missing_columns and _CURVE_COLUMN not in table:
        return None
    found = f"a table without {', '.join(missing_columns)}" if missing_columns else "the points of curves"
    return Problem(str(path), found, "a summary table", "name the summary.csv of a method")


def number_problems(path: Path, table: pd.DataFrame, columns: Iterable[str]) -> list[Problem]:
    """List columns of a table of text in which a cell is neither empty nor a number, as in damaged or joined files."""
    problems = []
    for name in columns:
        cells = table[name]
        wrong = cells[(cells != "") & pd.to_numeric(cells, errors="coerce").isna()]
        if len(wrong):
            remedy = remake_remedy(path, "name a table that the pipeline wrote")
            problems.append(Problem(str(path), f"{wrong.iloc[0]!r} in the column {name!r}", "a number", remedy))
    return problems


def read_table(path: Path) -> pd.DataFrame:
    """Read one table of scores as text, see `read_tables`."""
    return read_tables([path])[0]


def parse_number(text: str | None) -> float | None:
    """Parse a cell; None if it is empty or not a number."""
    value = pd.to_numeric(text or "", errors="coerce")
    return None if pd.isna(value) else float(value)


def read_history(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a ``history.csv``: a row of numbers for each epoch, NaN if not measured.

    Raises
    ------
    TrainingError
        If it is missing, is not a table, or lacks any of the columns.
    """
    try:
        table = pd.read_csv(path)
        if missing_columns := [name for name in columns if name not in table]:
            raise ValueError(f"a table without {', '.join(missing_columns)}")
        return table.astype(float)
    except (OSError, ValueError) as error:
        remedy = "train the experiment first: `snakemake models`"
        raise TrainingError(str(path), str(error), "a training history", remedy) from error
