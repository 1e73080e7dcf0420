"""All experiments in one table."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline.errors import PredictionError, Problem
from pipeline.files import write_table
from pipeline.raw.check import read_reports

_MEAN = "mean"
_SPLITS = ("test", "validation")
_REGIONS = ("fov", "full")


def build_leaderboard(*, summaries: Sequence[Path], output: Path, checks: Sequence[Path] = ()) -> None:
    """Join the summaries of all experiments, best first.

    Parameters
    ----------
    summaries : sequence of Path
        ``summary.csv`` files; none gives a table without rows.
    checks : sequence of Path
        Reports of `pipeline.raw.check`: column ``leak`` says how many pictures of the data set also stand in another
        of its splits; it is empty where the data set was not checked.
    output : Path
        CSV file: by data set, test before validation, field of view before full picture, macro before micro, of
        several classes the mean before each class, then by falling F1. A column that only some experiments have, such
        as MAE, is empty for the others.

    Raises
    ------
    PredictionError, RawDataError
        If a summary is missing or is no table, or a report is none.
    """
    leaks = {report["dataset"]: str(report["leak"]) for report in read_reports(checks)}
    tables, problems = [], []
    for path in summaries:
        try:
            # as text: an experiment named 007 or NA keeps its name, and numbers keep their digits
            tables.append(pd.read_csv(path, dtype=str, keep_default_na=False))
        except (OSError, ValueError) as error:
            problems.append(Problem(str(path), str(error), "a summary table", "delete it and run snakemake again"))
    if problems:
        raise PredictionError(problems)
    if not tables:
        write_table(output, pd.DataFrame(columns=["experiment", "dataset", "split", "class", "f1"]))
        return
    joined = pd.concat(tables, ignore_index=True).fillna("")
    after = list(joined.columns).index("excluded") + 1 if "excluded" in joined else len(joined.columns)
    joined.insert(after, "leak", [leaks.get(name, "") for name in joined["dataset"]])
    if "class" not in joined:
        joined["class"] = ""
    keys = pd.DataFrame(
        {
            "dataset": joined["dataset"],
            "split": joined["split"].map(_SPLITS.index),
            "region": joined["region"].map(_REGIONS.index),
            "averaging": joined["averaging"],
            "mean": joined["class"] != _MEAN,
            "class": joined.groupby(["dataset", "class"], sort=False).ngroup(),  # summaries list classes in their order
            "f1": -pd.to_numeric(joined["f1"]),
            "experiment": joined["experiment"],
        }
    )
    write_table(output, joined.loc[keys.sort_values(list(keys.columns), kind="stable").index])
