"""Write tables as CSV and plain data as JSON."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.files import atomic_file, write_text

if TYPE_CHECKING:
    import pandas as pd


def write_json(path: Path, data: Any) -> None:  # noqa: ANN401 - JSON is any plain data
    """Write plain data to `path` atomically, as indented JSON with sorted keys."""
    write_text(path, json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def write_table(path: Path, table: "pd.DataFrame") -> None:
    """Write a table to `path` atomically, as CSV with floats to 6 decimals and missing values empty."""
    with atomic_file(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6f", lineterminator="\n")
