"""Join the scores of all experiments in one table."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline.core.tables import write_table
from pipeline.evaluation.methods import MEAN
from pipeline.raw.reports import read_reports
from pipeline.report.average import STATISTICS
from pipeline.report.suspicion import suspicions
from pipeline.report.tables import read_summaries

_SPLITS = ("test", "out-of-fold", "validation")
_REGIONS = ("fov", "full")


def build_leaderboard(*, summaries: Sequence[Path], output: Path, checks: Sequence[Path] = ()) -> None:
    """Join the summaries of all experiments, best first.

    Parameters
    ----------
    summaries : sequence of Path
        ``summary.csv`` files, including those of `average_runs`; none gives a table without rows.
    checks : sequence of Path
        Reports of `pipeline.raw.check.run`. Column ``leak`` is the number of images of the data set that are also in
        another of its splits; it is empty if the data set was not checked. Column ``suspicious`` holds the reasons to
        doubt a row, see `suspicions`.
    output : Path
        CSV file, sorted by data set, test before validation, field of view before full image, macro before micro, the
        mean over classes before each class, then by descending F1, ``std`` below its ``mean``. Column ``statistic`` is
        ``run`` for the scores of one network, ``mean`` or ``std`` for those of ``runs`` networks. A column that only
        some experiments have, such as MAE, is empty for the others.

    Raises
    ------
    PredictionError, RawDataError
        If a summary is missing or is another table, or a report is not valid.
    """
    leaks = {report["dataset"]: str(report["leak"]) for report in read_reports(checks)}
    tables = read_summaries(summaries)
    if not tables:
        columns = ["experiment", "statistic", "runs", "dataset", "split", "class", "f1"]
        write_table(output, pd.DataFrame(columns=columns))
        return
    joined = pd.concat(tables, ignore_index=True)
    for position, (name, default) in enumerate((("statistic", "run"), ("runs", "1")), start=1):
        column = joined.pop(name) if name in joined else pd.Series(index=joined.index, dtype=object)
        joined.insert(position, name, column.fillna(default))
    joined = joined.fillna("")
    leak_position = list(joined.columns).index("excluded") + 1 if "excluded" in joined else len(joined.columns)
    joined.insert(leak_position, "leak", [leaks.get(name, "") for name in joined["dataset"]])
    reasons = [suspicions(row, row["leak"]) for row in joined.to_dict("records")]
    joined.insert(leak_position + 1, "suspicious", reasons)
    f1 = pd.to_numeric(joined["f1"])
    table_keys = [joined[name] for name in ("experiment", "dataset", "split", "region", "averaging", "class")]
    f1 = f1.where(joined["statistic"] != "std").groupby(table_keys, sort=False).transform("first")
    keys = pd.DataFrame(
        {
            "dataset": joined["dataset"],
            "split": joined["split"].map(_SPLITS.index),
            "region": joined["region"].map(_REGIONS.index),
            "averaging": joined["averaging"],
            "mean": joined["class"] != MEAN,
            "class": joined.groupby(["dataset", "class"], sort=False).ngroup(),  # in the order of the summaries
            "f1": -f1,
            "experiment": joined["experiment"],
            "statistic": joined["statistic"].map(STATISTICS.index),
        }
    )
    write_table(output, joined.loc[keys.sort_values(list(keys.columns), kind="stable").index])
