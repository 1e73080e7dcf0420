"""Save and load the state of a training run, in a folder whose name identifies the run."""

import hashlib
import io
import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from pipeline.training.device import choose_device, choose_precision
from pipeline.training.generations import read_newest, write_current
from pipeline.training.recipes import TrainRecipe

_LOAD_ERRORS = (OSError, MemoryError, RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError)


def state_key(recipe: TrainRecipe, shards: Sequence[Path], identity: str | None = None) -> str:
    """Return the folder name of a training state, different for each training run.

    Parameters
    ----------
    recipe : TrainRecipe
    shards : sequence of Path
        Training and validation shards, in order; their contents are hashed. An unreadable shard is hashed as
        `unreadable`: training reports the error.
    identity : str, optional
        Identity of the result, which includes its code: see `pipeline.core.fingerprint.Fingerprint`.

    Returns
    -------
    str
        16 hexadecimal digits.

    Raises
    ------
    TrainingError
        If the hardware does not support the configured precision.
    """
    key = {
        "settings": recipe.fingerprint_settings().plain(),
        "identity": identity,
        "shards": [_digest(path) for path in shards],
        "precision": choose_precision(recipe.precision, choose_device()),
        "torch": str(torch.__version__),
    }
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]


def save_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write a state of plain data and tensors; see `pipeline.training.generations.write_current`."""
    write_current(folder, lambda file: torch.save(dict(state), file))  # type: ignore[arg-type] # needs only `write`


def load_state(folder: Path) -> dict[str, Any] | None:
    """Read the newest intact state of a folder; code in a file is never run.

    Returns
    -------
    dict or None
        The saved state, with tensors on the CPU; None if no file is intact.

    Raises
    ------
    TrainingError
        If a file cannot be read, or an intact one cannot be loaded; see `pipeline.training.generations.read_newest`.
    """

    def load(body: memoryview) -> dict[str, Any]:
        state = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
        if not isinstance(state, dict):
            raise ValueError(f"a {type(state).__name__} in place of a state")
        return state

    return read_newest(folder, load, _LOAD_ERRORS)


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return "unreadable"
