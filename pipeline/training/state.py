"""The state of a training on disk: what it holds, and which training it belongs to."""

import hashlib
import io
import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from pipeline.training.device import choose_device, choose_precision
from pipeline.training.generations import keep, newest
from pipeline.training.recipes import TrainRecipe

_LOADING = (OSError, MemoryError, RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError)


def state_key(recipe: TrainRecipe, shards: Sequence[Path], identity: str | None = None) -> str:
    """Name the folder of a training's state, so that another training never finds it.

    Parameters
    ----------
    recipe : TrainRecipe
    shards : sequence of Path
        Of training and validation, in order; their contents count. One that cannot be read counts as that: whoever
        reads it for training says what is wrong.
    identity : str, optional
        That of the result (see `pipeline.core.fingerprint.Fingerprint`), with which its code counts.

    Returns
    -------
    str
        16 hexadecimal digits.

    Raises
    ------
    TrainingError
        If the hardware does not have the precision that the settings ask for.
    """
    deciding = {
        "settings": recipe.plain(),
        "identity": identity,
        "shards": [_digest(path) for path in shards],
        "precision": choose_precision(recipe.precision, choose_device()),
        "torch": str(torch.__version__),
    }
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:16]


def save_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write a state, plain data and tensors; see `pipeline.training.generations.keep`."""
    keep(folder, lambda file: torch.save(dict(state), file))  # type: ignore[arg-type] # all it asks for is `write`


def load_state(folder: Path) -> dict[str, Any] | None:
    """Read the newest whole state of a folder; code inside a file is never run.

    Returns
    -------
    dict or None
        What `save_state` got, tensors on the CPU; None where there is nothing whole.

    Raises
    ------
    TrainingError
        If a file cannot be read, or a whole one cannot be loaded; see `pipeline.training.generations.newest`.
    """

    def load(body: memoryview) -> dict[str, Any]:
        return dict(torch.load(io.BytesIO(body), map_location="cpu", weights_only=True))

    return newest(folder, load, _LOADING)


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return "unreadable"
