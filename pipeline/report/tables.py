"""Tables of scores, read as text, and histories of trainings."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline.core.errors import PredictionError, Problem, TrainingError


def read_tables(files: Sequence[Path]) -> list[pd.DataFrame]:
    """Read ``summary.csv`` files as text: an experiment named 007 or NA keeps its name, and numbers keep their digits.

    Raises
    ------
    PredictionError
        Listing every file that is missing or is no table.
    """
    tables, problems = [], []
    for path in files:
        try:
            tables.append(pd.read_csv(path, dtype=str, keep_default_na=False))
        except (OSError, ValueError) as error:
            problems.append(Problem(str(path), str(error), "a summary table", "delete it and run snakemake again"))
    if problems:
        raise PredictionError(problems)
    return tables


def read_table(path: Path) -> pd.DataFrame:
    """Read one of them."""
    return read_tables([path])[0]


def number(text: str | None) -> float | None:
    """Read a cell; None where it is empty or says no number."""
    value = pd.to_numeric(text or "", errors="coerce")
    return None if pd.isna(value) else float(value)


def read_history(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a ``history.csv``: a row of numbers for each epoch, NaN where nothing was measured.

    Raises
    ------
    TrainingError
        If it is missing, is no table, or lacks some of the columns.
    """
    try:
        table = pd.read_csv(path)
        if lacking := [name for name in columns if name not in table]:
            raise ValueError(f"a table without {', '.join(lacking)}")
        return table.astype(float)
    except (OSError, ValueError) as error:
        remedy = "train the experiment first: `snakemake models`"
        raise TrainingError(str(path), str(error), "the history of a training", remedy) from error
