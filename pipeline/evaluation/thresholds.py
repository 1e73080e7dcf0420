"""The threshold that makes a mask of a probability, as a file; `pipeline.evaluation.choice` chooses it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import PredictionError
from pipeline.core.fingerprint import Fingerprint, canonical, mismatch, read_fingerprint

FINGERPRINT = "fingerprint"
"""The key of a threshold file under which stands what made it."""


@dataclass(frozen=True)
class Threshold:
    """A threshold and where it comes from.

    Parameters
    ----------
    value : float
        In [0, 1]; a pixel is foreground where its probability is above.
    source : {'validation', 'out-of-fold', 'fixed'}
    chosen_by : str
        What was made large, in which region, over how many pictures; empty where fixed.
    metric : str
        The averaging and the score that was made large, such as ``"micro f1"``; empty where fixed.
    """

    value: float
    source: str
    chosen_by: str = ""
    metric: str = ""


def read_threshold(path: Path) -> Threshold:
    """Read what `choose_threshold` wrote.

    Raises
    ------
    PredictionError
        If the file is missing or says something else.
    """
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        threshold = Threshold(**{key: value for key, value in said.items() if key != FINGERPRINT})
        if not 0 <= threshold.value <= 1:
            raise ValueError(f"the threshold {threshold.value}")
        return threshold
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise PredictionError(
            str(path), str(error), "a threshold from 0 to 1 and its source", "delete it and run snakemake again"
        ) from error


def require_origin(asked: Mapping[Path, Fingerprint]) -> None:
    """Refuse predictions and thresholds that other settings or other code made.

    Parameters
    ----------
    asked : mapping of Path to Fingerprint
        Each folder of predictions, or file of a threshold, and what it has to be made by. What is not there the stage
        itself complains about.

    Raises
    ------
    PredictionError
        Listing every one with a fingerprint that differs, or without one.
    """
    stored = {path: read_fingerprint(path) if path.is_dir() else _stored(path) for path in asked if path.exists()}
    compared = [mismatch(path, text, asked[path]) for path, text in stored.items()]
    if problems := [problem for problem in compared if problem is not None]:
        raise PredictionError(problems)


def _stored(path: Path) -> str | None:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))[FINGERPRINT]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return canonical(said)
