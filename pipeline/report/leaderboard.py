"""All experiments in one table."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline.errors import PredictionError, Problem
from pipeline.files import write_table

_SPLITS = ("test", "validation")
_REGIONS = ("fov", "full")


def build_leaderboard(*, summaries: Sequence[Path], output: Path) -> None:
    """Join the summaries of all experiments, best first.

    Parameters
    ----------
    summaries : sequence of Path
        ``summary.csv`` files; none gives a table without rows.
    output : Path
        CSV file: by data set, test before validation, field of view before full picture, macro before micro, then by
        falling F1.

    Raises
    ------
    PredictionError
        If a summary is missing or is no table.
    """
    tables, problems = [], []
    for path in summaries:
        try:
            tables.append(pd.read_csv(path))
        except (OSError, ValueError) as error:
            problems.append(Problem(str(path), str(error), "a summary table", "delete it and run snakemake again"))
    if problems:
        raise PredictionError(problems)
    if not tables:
        write_table(output, pd.DataFrame(columns=["experiment", "dataset", "split", "f1"]))
        return
    joined = pd.concat(tables, ignore_index=True)
    joined["_split"] = joined["split"].map(_SPLITS.index)
    joined["_region"] = joined["region"].map(_REGIONS.index)
    order = ["dataset", "_split", "_region", "averaging", "f1", "experiment"]
    joined = joined.sort_values(order, ascending=[True, True, True, True, False, True], kind="stable")
    write_table(output, joined.drop(columns=["_split", "_region"]))
