"""The state of a training on disk: whole or not there, the newest and the one before."""

import hashlib
import io
import json
import pickle
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import torch

from pipeline.core.errors import TrainingError
from pipeline.core.files import atomic_file
from pipeline.core.progress import say
from pipeline.training.device import choose_device, choose_precision
from pipeline.training.recipes import TrainRecipe

GENERATIONS = ("current.pt", "previous.pt")
"""The newest first."""

_DIGEST_SIZE = 32
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
    """Write a state with its checksum; what was the newest becomes the one before.

    Parameters
    ----------
    folder : Path
        Made where it is missing.
    state : mapping
        Plain data and tensors.

    Raises
    ------
    OutputError
        If it cannot be written; what was saved before is still there.
    """
    current, previous = (folder / name for name in GENERATIONS)
    with atomic_file(current) as temporary:
        with temporary.open("wb") as file:
            digesting = _Digesting(file)
            try:
                torch.save(dict(state), digesting)  # type: ignore[arg-type] # all it asks for is `write`
            except RuntimeError:
                if digesting.error is not None:  # torch does not say why a write failed
                    raise digesting.error from None
                raise
            file.write(digesting.sha256.digest())
        with suppress(FileNotFoundError):
            current.replace(previous)


def load_state(folder: Path) -> dict[str, Any] | None:
    """Read the newest whole state of a folder; code inside a file is never run.

    A torn file is named in the log and removed, so that it can never take the place of a whole one. What only cannot be
    read now, for want of memory or because a disk does not answer, is worth days of work and stays.

    Returns
    -------
    dict or None
        What `save_state` got, tensors on the CPU; None where there is nothing whole.

    Raises
    ------
    TrainingError
        If a file cannot be read, or a whole one cannot be loaded.
    """
    torn = 0
    for name in GENERATIONS:
        path = folder / name
        try:
            contents = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, MemoryError) as error:
            raise _unreadable_now(path, error) from error
        body = memoryview(contents)[:-_DIGEST_SIZE]
        if hashlib.sha256(body).digest() == contents[-_DIGEST_SIZE:]:
            try:
                return dict(torch.load(io.BytesIO(body), map_location="cpu", weights_only=True))
            except _LOADING as error:
                raise _unreadable_now(path, error) from error
        say(f"{path}: no whole state (its checksum does not match); it is left out")
        torn += 1
        with suppress(OSError):
            path.unlink()
    if torn:
        say(f"{folder}: no whole state is left; the training starts anew")
    return None


def _unreadable_now(path: Path, error: Exception) -> TrainingError:
    return TrainingError(
        str(path),
        " ".join(str(error).split())[:160] or type(error).__name__,
        "the state of a training, which can be read",
        "run the same command again, with more memory where that is short; without this file it goes on from the one "
        "before, or starts anew",
    )


def remove_state(folder: Path) -> None:
    """Remove a state, and the folder above where nothing else lies in it."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        folder.parent.rmdir()


class _Digesting:
    """A file that is written to, with the checksum of what went through."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return "unreadable"
