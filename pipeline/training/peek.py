"""The epochs of a training that is running, read from its state by somebody else: nothing is changed."""

import pickle
from pathlib import Path

import torch

from pipeline.training.generations import GENERATIONS
from pipeline.training.history import Row

# a file that is just being replaced or removed fails in many ways; the next look will do
_UNREADABLE = (OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError, AttributeError, pickle.UnpicklingError)


def peek_history(folder: Path, after: int = 0) -> list[Row] | None:
    """Return the epochs that the newest state of an experiment holds.

    Weights are mapped and not read, so that looking is cheap. Code inside a file is never run, and a file that cannot
    be read is left as it is.

    Parameters
    ----------
    folder : Path
        Folder of the states of an experiment's unfinished trainings, one folder for each.
    after : int
        States that were written earlier are passed over: nanoseconds since 1970.

    Returns
    -------
    list of Row or None
        A row for each epoch done; None where there is no state, or none that can be read.
    """
    states = [path for name in GENERATIONS for path in folder.glob(f"*/{name}") if written(path) > after]
    for path in sorted(states, key=written, reverse=True):
        try:
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            rows = state["progress"]["history"]
            return [{str(name): float(value) for name, value in row.items()} for row in rows]
        except _UNREADABLE:
            continue
    return None


def written(path: Path) -> int:
    """Return when a file was last written, in nanoseconds since 1970; 0 where there is none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
