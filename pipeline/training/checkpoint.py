"""Checkpoints: weights and metadata, stored as tensors and plain data only."""

import io
import pickle
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import model_validator

from pipeline.core.errors import CheckpointError
from pipeline.core.files import atomic_file
from pipeline.core.options import Choice, Options, Positive
from pipeline.models.networks import AnyNetwork
from pipeline.shards.recipes import Preparation
from pipeline.training.losses import ACTIVATIONS
from pipeline.training.recipes import TrainRecipe

FORMAT = 2
_LOAD_ERRORS = (OSError, RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError, zipfile.BadZipFile)
_REMEDY = "train again with this version of the pipeline, or use a best.pt or last.pt that it wrote"


class CheckpointInfo(Options):
    """The metadata of a checkpoint: everything except the weights.

    Parameters
    ----------
    size : (int, int)
        Height and width of the training samples, before cropping.
    class_names : tuple of str
        Background first; also the names of the folders of probabilities.
    settings : TrainRecipe
        With the selected precision.
    made_with : dict of str to str
        Hardware and versions.
    """

    model: AnyNetwork
    in_channels: Positive
    out_channels: Positive
    activation: Annotated[str, Choice(ACTIVATIONS)]
    size: tuple[Positive, Positive]
    preparation: Preparation
    dataset: str
    origin: str
    class_names: tuple[str, ...]
    experiment: str
    seeds: dict[str, int]
    settings: TrainRecipe
    made_with: dict[str, str]

    @model_validator(mode="after")
    def _check_class_names(self) -> "CheckpointInfo":
        count = max(2, self.out_channels)
        if len(self.class_names) != count or not all(name.strip(".") for name in self.class_names):
            raise ValueError(f"class names {self.class_names}; expected {count} names that are valid folder names")
        return self


@dataclass(frozen=True)
class Checkpoint:
    """A trained network: its metadata and weights, the epoch of the weights, and the history row of that epoch."""

    info: CheckpointInfo
    state: dict[str, torch.Tensor]
    epoch: int
    scores: dict[str, float]


def save_checkpoint(
    path: Path,
    info: CheckpointInfo,
    state: Mapping[str, torch.Tensor],
    *,
    epoch: int = 0,
    scores: Mapping[str, float] = {},
) -> None:
    """Write a checkpoint atomically, as plain data and tensors."""
    contents = {**info.plain(), "state": dict(state), "epoch": epoch, "scores": dict(scores)}
    # through memory: torch stores the file name in the file, which would make files of equal weights differ, and does
    # not report why a write failed
    buffer = io.BytesIO()
    torch.save(_canonical({"format": FORMAT, **contents}), buffer)
    with atomic_file(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def _canonical(value: Any) -> Any:  # noqa: ANN401 - any plain data
    """Copy plain data so that equal data gives equal bytes: pickle distinguishes equal from identical strings."""
    if isinstance(value, str):
        return sys.intern(str(value))
    if isinstance(value, dict):
        return {_canonical(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    return value


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; code in a file is never run.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, contains anything except tensors and plain data, or its metadata are invalid.
    """
    try:
        contents = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(str(path), "no such file", "a checkpoint", "run `snakemake models`") from error
    except _LOAD_ERRORS as error:
        actual = f"a file that cannot be loaded ({' '.join(str(error).split())[:160]})"
        raise CheckpointError(str(path), actual, "tensors and plain data", _REMEDY) from error
    if not isinstance(contents, dict) or "format" not in contents:
        raise CheckpointError(str(path), "a file of another kind", "a checkpoint of this pipeline", _REMEDY)
    if contents.pop("format") != FORMAT:
        actual, expected = "a checkpoint of another version of the pipeline", f"format {FORMAT}"
        raise CheckpointError(str(path), actual, expected, _REMEDY)
    try:
        state, epoch, scores = (contents.pop(key) for key in ("state", "epoch", "scores"))
        info = CheckpointInfo.model_validate(contents)
    except (KeyError, ValueError) as error:
        actual = f"invalid metadata ({' '.join(str(error).split())[:300]})"
        expected = "name, options and channels of a network of this version, and the settings of its training"
        raise CheckpointError(str(path), actual, expected, _REMEDY) from error
    return Checkpoint(info, state, epoch, scores)
