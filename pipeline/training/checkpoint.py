"""Checkpoints: tensors and plain data only, and what made them."""

import io
import pickle
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pipeline.core.errors import CheckpointError, Problem
from pipeline.core.files import atomic_file

FORMAT = 1
_KEYS = (
    "format",
    "model",
    "in_channels",
    "out_channels",
    "activation",
    "state",
    "size",
    "dataset",
    "origin",
    "settings",
)


def save_checkpoint(path: Path, contents: Mapping[str, Any]) -> None:
    """Write a checkpoint, all or nothing.

    Parameters
    ----------
    path : Path
    contents : mapping
        Plain data and tensors; at least the keys that `load_checkpoint` promises.
    """
    # through memory: torch writes the name of a path into the file, which would make equal weights differ, and it
    # does not say why a write failed
    buffer = io.BytesIO()
    torch.save(_canonical({"format": FORMAT, **contents}), buffer)
    with atomic_file(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def _canonical(value: Any) -> Any:  # noqa: ANN401 - plain data of any kind
    """Copy plain data so that equal data gives equal bytes: pickle tells one string from two equal ones."""
    if isinstance(value, str):
        return sys.intern(str(value))
    if isinstance(value, dict):
        return {_canonical(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    return value


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; code inside a file is never run.

    Returns
    -------
    dict
        ``format``, ``model`` (name and options), ``in_channels``, ``out_channels``, ``activation``, ``state`` (the
        weights), ``size`` (height and width it was trained at), ``dataset``, ``origin``, ``settings`` (of the
        training); and what else was saved.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, holds anything but tensors and plain data, or lacks one of these.
    """
    remedy = "delete it and run snakemake again, or name a best.pt or last.pt that this pipeline wrote"
    try:
        contents = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(Problem(str(path), "no such file", "a checkpoint", "run `snakemake models`")) from error
    except (OSError, RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:160]
        raise CheckpointError(
            Problem(str(path), f"a file that cannot be loaded ({reason})", "tensors and plain data", remedy)
        ) from error
    missing = [key for key in _KEYS if not isinstance(contents, dict) or key not in contents]
    if missing:
        raise CheckpointError(
            Problem(str(path), f"a file without {', '.join(missing)}", "a checkpoint of this pipeline", remedy)
        )
    if contents["format"] != FORMAT:
        raise CheckpointError(Problem(str(path), f"checkpoint format {contents['format']}", f"format {FORMAT}", remedy))
    return dict(contents)
