"""The threshold that makes a mask of a probability, as a file; `pipeline.evaluation.choice` chooses it."""

import json
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import PredictionError


@dataclass(frozen=True)
class Threshold:
    """A threshold and where it comes from.

    Parameters
    ----------
    value : float
        In [0, 1]; a pixel is foreground where its probability is above.
    source : {'validation', 'out-of-fold', 'fixed', 'argmax'}
    chosen_by : str
        What was made best, in which region, over how many images; empty where fixed.
    metric : str
        The averaging and the score that was made best, such as ``"micro f1"``; empty where fixed.
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
        threshold = Threshold(**json.loads(path.read_text(encoding="utf-8")))
        if not 0 <= threshold.value <= 1:
            raise ValueError(f"the threshold {threshold.value}")
        return threshold
    except (OSError, ValueError, TypeError, AttributeError) as error:
        expected, remedy = "a threshold from 0 to 1 and its source", "delete it and run snakemake again"
        raise PredictionError(str(path), str(error), expected, remedy) from error
