"""The threshold file of an experiment; `pipeline.evaluation.choice` chooses the threshold."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import PredictionError
from pipeline.core.manifest import remake_remedy
from pipeline.core.tables import read_json


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
        threshold = Threshold(**read_json(path))
        if not 0 <= threshold.value <= 1:
            raise ValueError(f"the threshold {threshold.value}")
        return threshold
    except (OSError, ValueError, TypeError, AttributeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        remedy = remake_remedy(path, "name the threshold.json of an experiment, or a number")
        raise PredictionError(str(path), reason, "a threshold from 0 to 1 and its source", remedy) from error
