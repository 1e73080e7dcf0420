"""Tables of scores, read as text."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline.core.errors import PredictionError, Problem


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
