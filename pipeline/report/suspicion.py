"""Results that are too good to be true: most of them are a leak of test samples into training."""

from collections.abc import Mapping
from typing import Any

from pipeline.evaluation.methods import is_baseline

BEST_KNOWN = {"drive": {"f1": 0.84, "accuracy": 0.9582}}
"""What nobody has surpassed by fair means, by layout: inside the field of view, at native size, on the test images.

DRIVE: published F1 ends at 0.83 and accuracy at 0.9582 (arXiv 2111.03853), where the protocol is told in full. Two
people who draw the vessels agree to an F1 of 0.79.
"""


def suspicions(row: Mapping[Any, str], leak: str = "") -> str:
    """Say why a row of the leaderboard is to be doubted.

    Parameters
    ----------
    row : mapping of str to str
        A row of a summary, as text.
    leak : str
        How many images of the data set also stand in another of its splits; empty where that is not known.

    Returns
    -------
    str
        The reasons in words, separated by ``; ``; empty where there is none. A baseline has learnt nothing, and drawn
        images are easier than real ones: they are never doubted for a high score.
    """
    reasons = []
    learnt = not is_baseline(row["experiment"])
    if leak not in ("", "0") and learnt:
        reasons.append(f"likely leak: {leak} images also stand in another split")
    known = BEST_KNOWN.get(row.get("layout", ""), {})
    compared = (row.get("split"), row.get("region"), row.get("origin")) == ("test", "fov", "raw files")
    if compared and learnt and row.get("statistic", "run") != "std":
        reasons += [
            f"likely leak: {name} {float(row[name]):.4f} is above {limit:g}, the best that is known inside the field "
            "of view"
            for name, limit in known.items()
            if row.get(name) and float(row[name]) > limit
        ]
    return "; ".join(reasons)
