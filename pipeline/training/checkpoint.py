"""Checkpoints: tensors and plain data only, and what made them."""

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
_UNLOADABLE = (OSError, RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError, zipfile.BadZipFile)
_REMEDY = "train again with this version of the pipeline, or name a best.pt or last.pt that it wrote"


class Trained(Options):
    """What a checkpoint says of a network, besides its weights.

    Parameters
    ----------
    size : (int, int)
        Height and width that it was trained at, before cropping.
    class_names : tuple of str
        Background first; they name folders of probabilities.
    settings : TrainRecipe
        With the precision that was chosen.
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
    def _names_its_classes(self) -> "Trained":
        count = max(2, self.out_channels)
        if len(self.class_names) != count or not all(name.strip(".") for name in self.class_names):
            raise ValueError(f"the class names {self.class_names}, not {count} names that can be folders")
        return self


@dataclass(frozen=True)
class Checkpoint:
    """A network that was trained: what it is, its weights, the epoch that they are from, and its row of the history."""

    about: Trained
    state: dict[str, torch.Tensor]
    epoch: int
    scores: dict[str, float]


def save_checkpoint(
    path: Path, about: Trained, state: Mapping[str, torch.Tensor], *, epoch: int = 0, scores: Mapping[str, float] = {}
) -> None:
    """Write a checkpoint, all or nothing: plain data and tensors."""
    contents = {**about.plain(), "state": dict(state), "epoch": epoch, "scores": dict(scores)}
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


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; code inside a file is never run.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, holds anything but tensors and plain data, or describes no network.
    """
    try:
        contents = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(str(path), "no such file", "a checkpoint", "run `snakemake models`") from error
    except _UNLOADABLE as error:
        found = f"a file that cannot be loaded ({' '.join(str(error).split())[:160]})"
        raise CheckpointError(str(path), found, "tensors and plain data", _REMEDY) from error
    if not isinstance(contents, dict) or "format" not in contents:
        raise CheckpointError(str(path), "another file", "a checkpoint of this pipeline", _REMEDY)
    if contents.pop("format") != FORMAT:
        found, expected = "the checkpoint of another version of the pipeline", f"format {FORMAT}"
        raise CheckpointError(str(path), found, expected, _REMEDY)
    try:
        state, epoch, scores = (contents.pop(key) for key in ("state", "epoch", "scores"))
        about = Trained.model_validate(contents)
    except (KeyError, ValueError) as error:
        found = f"a description of no network ({' '.join(str(error).split())[:300]})"
        expected = "name, options and channels of a network of this version, and the settings of its training"
        raise CheckpointError(str(path), found, expected, _REMEDY) from error
    return Checkpoint(about, state, epoch, scores)
