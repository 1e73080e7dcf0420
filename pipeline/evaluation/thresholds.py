"""The threshold file of an experiment; `pipeline.evaluation.choice` chooses the threshold."""

import json
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.errors import PredictionError
from pipeline.core.files import read_json
from pipeline.core.manifest import remake_remedy


@dataclass(frozen=True)
class Threshold:
    """A threshold and its origin.

    Parameters
    ----------
    value : float
        In [0, 1]; a pixel is foreground if its probability is above.
    source : {'validation', 'out-of-fold', 'fixed', 'argmax'}
    criterion : str
        The maximized score with its value, the region and the number of images, as text; empty if fixed.
    metric : str
        Averaging and metric of this score, such as ``"micro f1"``; empty if fixed.
    """

    value: float
    source: str
    criterion: str = ""
    metric: str = ""


def read_threshold(path: Path) -> Threshold:
    """Read a threshold file that `choose_threshold` wrote.

    Raises
    ------
    PredictionError
        If the file is missing or has other contents.
    """
    try:
        plain = read_json(path)
        if not _is_threshold(plain):
            raise ValueError(textwrap.shorten(json.dumps(plain), 80, placeholder=" ..."))
        return Threshold(**plain)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else f"other contents: {error}"
        expected = "JSON with `value`, a threshold from 0 to 1, and `source`, where it comes from"
        advice = (
            'name the threshold.json of an experiment, or write the file like this: {"value": 0.5, "source": "fixed"}'
        )
        raise PredictionError(str(path), reason, expected, remake_remedy(path, advice)) from error


def _is_threshold(plain: Any) -> bool:  # noqa: ANN401 - any plain data
    if not isinstance(plain, dict) or not {"value", "source"} <= plain.keys() <= {*Threshold.__dataclass_fields__}:
        return False
    value = plain["value"]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 <= value <= 1 and all(isinstance(plain[name], str) for name in plain.keys() - {"value"})
