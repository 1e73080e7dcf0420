"""Checkpoints: weights and metadata, stored as tensors and plain data only."""

import io
import sys
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
from pipeline.models.registry import build_model
from pipeline.raw.decode.containers import MAX_PIXELS
from pipeline.raw.value_range import ImageValues
from pipeline.shards.recipes import Preparation
from pipeline.training.losses import ACTIVATIONS
from pipeline.training.recipes import TrainRecipe
from pipeline.training.torch_files import load_verified

FORMAT = 2
_REMEDY = "train again with this version of the pipeline, or use a best.pt or last.pt that it wrote"
_MAX_LISTED = 3
_MAX_VALUES, _MAX_DEPTH = 10_000, 20  # of metadata, far more than there are
_PLAIN_TYPES = (str, int, float, bool, type(None))


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
    image_values : ImageValues, optional
        Types and normalized values of the images in the training shards.
    has_fov : bool
        Whether the training samples have fields of view.
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
    image_values: ImageValues | None = None
    has_fov: bool = False

    @model_validator(mode="after")
    def _check_class_names(self) -> "CheckpointInfo":
        count = max(2, self.out_channels)
        names = {name for name in self.class_names if name.strip(".") and "\0" not in name and len(name.encode()) < 256}
        if not len(names) == len(self.class_names) == count:
            raise ValueError(f"class names {self.class_names}; expected {count} names that are valid folder names")
        return self

    @model_validator(mode="after")
    def _check_consistency(self) -> "CheckpointInfo":
        preparation, channels = self.preparation, {"rgb": 3, "grey": 1}[self.preparation.channels]
        normalize = preparation.normalize
        if self.in_channels != channels:
            raise ValueError(f"in_channels {self.in_channels}; {preparation.channels} images have {channels}")
        if normalize.mean is not None and {len(normalize.mean), len(normalize.std or ())} != {channels}:
            raise ValueError(f"normalization {normalize.plain()}; expected one mean and one std for each channel")
        if self.size[0] * self.size[1] > MAX_PIXELS:
            raise ValueError(f"size {self.size}; images have at most {MAX_PIXELS} pixels")
        if preparation.fixed_size not in (None, self.size):
            raise ValueError(f"size {self.size}, but {preparation.fixed_size} in the preparation")
        if (self.activation == "softmax") != (self.out_channels > 1):
            raise ValueError(f"activation {self.activation} for {self.out_channels} output channels")
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
    """Read a checkpoint whose weights fit its network; code in a file is never run.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, contains anything except tensors and plain data, its metadata are invalid, or
        its weights are not numbers or those of another network.
    """
    try:
        contents = load_verified(path)
    except FileNotFoundError as error:
        raise CheckpointError(
            str(path), "no such file", "a checkpoint", "correct the path; `snakemake models` makes checkpoints"
        ) from error
    except PermissionError as error:
        remedy = "make it readable (chmod u+r), and its folder searchable (chmod u+x)"
        raise CheckpointError(str(path), "a file without permission to read it", "a checkpoint", remedy) from error
    except (OSError, ValueError) as error:
        actual = f"a file that is damaged or no checkpoint ({str(error)[:160]})"
        raise CheckpointError(str(path), actual, "tensors and plain data", _REMEDY) from error
    if not isinstance(contents, dict) or "format" not in contents:
        raise CheckpointError(str(path), "a file of another kind", "a checkpoint of this pipeline", _REMEDY)
    version = contents.pop("format")
    if type(version) is not int or version != FORMAT:
        actual, expected = "a checkpoint of another version of the pipeline", f"format {FORMAT}"
        raise CheckpointError(str(path), actual, expected, _REMEDY)
    try:
        state = contents.pop("state")
        _require_plain(contents)
        epoch, scores = int(contents.pop("epoch")), {name: float(x) for name, x in contents.pop("scores").items()}
        info = CheckpointInfo.model_validate(contents)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        actual = f"invalid metadata ({' '.join(str(error).split())[:300]})"
        expected = "name, options and channels of a network of this version, and the settings of its training"
        raise CheckpointError(str(path), actual, expected, _REMEDY) from error
    _require_weights(path, info, state)
    return Checkpoint(info, state, epoch, scores)


def _require_plain(contents: Any) -> None:  # noqa: ANN401 - any data
    """Refuse other than plain data, and nesting that would take long to read: lists may contain one another."""
    values, count = [(contents, 0)], 0
    while values:
        value, depth = values.pop()
        count += 1
        if count > _MAX_VALUES or depth > _MAX_DEPTH:
            raise ValueError(f"more than {_MAX_VALUES} values, or nested more than {_MAX_DEPTH} times")
        if isinstance(value, dict):
            values += [(item, depth + 1) for item in (*value, *value.values())]
        elif isinstance(value, list | tuple):
            values += [(item, depth + 1) for item in value]
        elif not isinstance(value, _PLAIN_TYPES):
            raise ValueError(f"a value of type {type(value).__name__}")


def _require_weights(path: Path, info: CheckpointInfo, state: Any) -> None:  # noqa: ANN401 - any data
    """Compare weights with the network of the metadata, without allocating it; refuse values that are not finite."""
    channels = {"in_channels": info.in_channels, "out_channels": info.out_channels}
    expected = f"weights of {info.model} with {channels}"
    try:
        with torch.device("meta"):  # shapes without memory
            wanted = build_model(info.model, **channels).state_dict()
        problems = _weight_problems(wanted, state)
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:
        problems = [" ".join(str(error).split())[:160]]
    if problems:
        actual = f"weights that do not fit the network of its metadata ({'; '.join(problems[:_MAX_LISTED])})"
        raise CheckpointError(str(path), actual, expected, _REMEDY)
    if unusable := [name for name, tensor in state.items() if not bool(tensor.isfinite().all())]:
        actual = f"weights that are not finite numbers (NaN or infinite): {', '.join(unusable[:_MAX_LISTED])}"
        remedy = "train again with a lower learning rate; with `precision: bf16`, try fp32"
        raise CheckpointError(str(path), actual, "finite weights", remedy)


def _weight_problems(wanted: Mapping[str, torch.Tensor], state: Any) -> list[str]:  # noqa: ANN401 - any data
    """List how weights differ from the tensors wanted, which have no memory."""
    if not isinstance(state, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
        return ["no tensors by name"]
    problems = [f"{name} is missing" for name in wanted if name not in state]
    problems += [f"{name} is not in the network" for name in state if name not in wanted]
    for name, expected in wanted.items():
        tensor = state.get(name, expected)
        if (tensor.shape, tensor.dtype) != (expected.shape, expected.dtype):
            problems.append(f"{name} is {_describe(tensor)}, not {_describe(expected)}")
        elif tensor is not expected and not _owns_values(tensor):
            problems.append(f"{name} is not stored value by value")
    if not problems and len({tensor.untyped_storage().data_ptr() for tensor in state.values()}) < len(state):
        problems.append("several weights share their values")
    return problems


def _describe(tensor: torch.Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def _owns_values(tensor: torch.Tensor) -> bool:
    """Return whether a tensor holds each of its values in a memory of its own, in order."""
    plain = tensor.device.type == "cpu" and tensor.layout == torch.strided
    return plain and tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.nbytes
