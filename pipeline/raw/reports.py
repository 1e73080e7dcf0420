"""Read reports on raw data; apart from the code of the check, so that readers do not depend on it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.core.errors import Problem, RawDataError
from pipeline.core.files import read_json

_TYPES = {"dataset": str, "errors": int, "findings": list, "leak": int}

Report = dict[str, Any]
"""The report of `pipeline.raw.check.run` on a data set."""


def read_reports(paths: Sequence[Path]) -> list[Report]:
    """Read ``<dataset>.json`` files.

    Raises
    ------
    RawDataError
        Listing every file that is missing or not a report.
    """
    reports, problems = [], []
    for path in paths:
        try:
            report = read_json(path)
            if not isinstance(report, dict) or any(type(report.get(key)) is not kind for key, kind in _TYPES.items()):
                raise ValueError("JSON that is not the report of a check")
            reports.append(report)
        except (OSError, ValueError) as error:
            remedy = "run `python -m pipeline check` again"
            problems.append(Problem(str(path), str(error), "the report of a check", remedy))
    if problems:
        raise RawDataError(problems)
    return reports
