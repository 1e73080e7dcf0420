"""Read reports on raw data back; apart from the check that writes them, whose code decides nothing for a reader."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.core.errors import Problem, RawDataError

Report = dict[str, Any]
"""What `pipeline.raw.check.run` says of a data set."""


def read_reports(paths: Sequence[Path]) -> list[Report]:
    """Read ``<dataset>.json`` files back.

    Raises
    ------
    RawDataError
        Listing every file that is missing or is no such report.
    """
    reports, problems = [], []
    for path in paths:
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(report, dict) or not {"dataset", "errors", "findings", "leak"} <= report.keys():
                raise ValueError("JSON that is no report of a check")
            reports.append(report)
        except (OSError, ValueError) as error:
            remedy = "run `python -m pipeline check` again"
            problems.append(Problem(str(path), str(error), "the report of a check", remedy))
    if problems:
        raise RawDataError(problems)
    return reports
