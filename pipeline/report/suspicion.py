"""Mark results that are too good to be true, most often because test samples leaked into training."""

from collections.abc import Mapping
from typing import Any

from pipeline.core.errors import plural
from pipeline.evaluation.methods import is_baseline

BEST_KNOWN = {"drive": {"f1": 0.84, "accuracy": 0.9582}}
"""Highest plausible scores by layout: inside the field of view, at native size, on the test images.

DRIVE: the highest published scores with a complete protocol are F1 0.83 and accuracy 0.9582 (arXiv 2111.03853). Two
human annotators agree with an F1 of 0.79.
"""


def suspicions(row: Mapping[Any, str], leak: str = "") -> str:
    """Return the reasons to doubt a row of the leaderboard.

    Parameters
    ----------
    row : mapping of str to str
        A row of a summary, as text.
    leak : str
        Number of images of the data set that are also in another of its splits; empty if unknown.

    Returns
    -------
    str
        The reasons, separated by ``; ``; empty if there are none. A high score is no reason for baselines, which are
        not trained, and on synthetic images, which are easier than real ones.
    """
    reasons = []
    is_trained = not is_baseline(row["experiment"])
    if leak not in ("", "0") and is_trained:
        reasons.append(f"likely leak: {plural(int(leak), 'image')} also in another split")
    limits = BEST_KNOWN.get(row.get("layout", ""), {})
    is_comparable = (row.get("split"), row.get("region"), row.get("origin")) == ("test", "fov", "raw files")
    if is_comparable and is_trained and row.get("statistic", "run") != "std":
        reasons += [
            f"likely leak: {name} {float(row[name]):.4f} is above {limit:g}, the best known score inside the "
            "field of view"
            for name, limit in limits.items()
            if row.get(name) and float(row[name]) > limit
        ]
    return "; ".join(reasons)
