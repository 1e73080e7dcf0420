"""The progress files of running trainings."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PROGRESS_FILE = "progress.json"  # see pipeline.training.progress_file


def read_progress(folder: Path) -> Mapping[str, Any] | None:
    """Read the newest progress file below the folder of the states of an experiment; None if there is none."""
    newest: tuple[int, Path] | None = None
    for path in folder.glob(f"*/{_PROGRESS_FILE}"):
        try:
            newest = max(newest or (0, path), (path.stat().st_mtime_ns, path))
        except OSError:  # the training has just ended
            continue
    try:
        return None if newest is None else dict(json.loads(newest[1].read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None
