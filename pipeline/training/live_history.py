"""Read the history of a running training from its saved state, without changing anything."""

import pickle
from pathlib import Path

import torch

from pipeline.training.generations import GENERATIONS
from pipeline.training.history import Row
from pipeline.training.torch_files import verify_record

# a file that is being replaced or removed can fail in many ways; the caller reads again later
_UNREADABLE = (OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError, AttributeError, pickle.UnpicklingError)


def read_live_history(folder: Path, newer_than: int = 0) -> list[Row] | None:
    """Return the history rows in the newest saved state of an experiment.

    Weights are memory-mapped and neither read nor verified, so that this is cheap. Code in a file is never run. A file
    that cannot be read is not changed.

    Parameters
    ----------
    folder : Path
        Folder with one folder for the state of each unfinished training of the experiment.
    newer_than : int
        Modification time in nanoseconds since 1970; states that are not newer are ignored.

    Returns
    -------
    list of Row or None
        One row for each finished epoch; None if there is no readable state.
    """
    states = [path for name in GENERATIONS for path in folder.glob(f"*/{name}") if modified_ns(path) > newer_than]
    for path in sorted(states, key=modified_ns, reverse=True):
        try:
            verify_record(path, "data.pkl")  # all except the weights
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            rows = state["progress"]["history"]
            return [{str(name): float(value) for name, value in row.items()} for row in rows]
        except _UNREADABLE:
            continue
    return None


def modified_ns(path: Path) -> int:
    """Return the modification time of a file in nanoseconds since 1970; 0 if there is no such file."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
