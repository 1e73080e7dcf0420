"""Load a trained network and predict the probabilities of normalized images."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pipeline.core.errors import ConfigError, PredictionError, Problem
from pipeline.models.registry import build_model
from pipeline.prediction.batches import (
    Forward,
    HostBatch,
    PixelLimit,
    Result,
    Transfer,
    normalize,
    run_batches,
    to_class_tensor,
    to_level_tensor,
    transfer_for,
)
from pipeline.prediction.memory import MORE_MEMORY, memory_errors
from pipeline.prediction.normalized import NormalizedImage
from pipeline.prediction.recipes import TestTime, Tiles
from pipeline.prediction.symmetries import average_views
from pipeline.prediction.tiles import TileAxis, blended_axis, predict_bands, valid_axis
from pipeline.training.checkpoint import CheckpointInfo, load_checkpoint
from pipeline.training.device import (
    choose_device,
    choose_precision,
    describe_device,
    prepare_cpu,
    prepare_fp32,
    run_network,
)
from pipeline.training.losses import activate
from pipeline.training.recipes import Precision

_TILES = "predict tiles: `tiles: {size: [512, 512]}` in the experiment, or `--tiles 512 512`"
_SMALLER_TILES = "predict smaller tiles (`tiles` of the experiment, or `--tiles`)"
_MAX_LISTED = 3  # images that a message lists


@runtime_checkable
class Unpadded(Protocol):
    """A network that can have valid (unpadded) convolutions.

    A protocol, because an import of its class would make the predictions of all networks depend on that code.
    """

    padded: bool
    multiple: int

    def valid_forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, C, H, W) to the logits of the pixels whose receptive field is inside the image."""

    def margins(self, side: int) -> tuple[int, int]:
        """Return by how many pixels the output is smaller than `side`, at its start and at its end."""


Values = Literal["probability", "levels", "classes"]
"""What a network returns: probabilities (N, K, H, W) of float32; or of uint8, levels or class indices (N, 1, H, W)."""

_CONVERSIONS: dict[Values, Forward] = {
    "probability": lambda probability: probability,
    "levels": to_level_tensor,
    "classes": to_class_tensor,
}


class Batch(NamedTuple):
    """Images of one size to predict at once: their names and size for messages, their owners, pixels, and results."""

    where: str
    owners: Sequence[Any]
    images: HostBatch
    values: Values


@dataclass(frozen=True)
class Predictor:
    """Predicts probabilities of normalized images.

    Parameters
    ----------
    info : CheckpointInfo
        Description of the network in the checkpoint.
    device : torch.device
    forward : callable
        Maps (N, C, H, W) float32 to (N, K, H, W) float32.
    runs_on : str
        Hardware, precision and number of threads, for messages.
    limit : PixelLimit
        Size of a batch.
    transfer : Transfer
    tile_axes : callable, optional
        Maps height and width of an image to the positions of tiles along both.
    """

    info: CheckpointInfo
    device: torch.device
    forward: Forward
    runs_on: str
    limit: PixelLimit
    transfer: Transfer
    tile_axes: Callable[[int, int], tuple[TileAxis, TileAxis]] | None = None

    def __call__(self, image: NormalizedImage) -> NDArray[np.float32]:
        """Return the probabilities (K, H, W) of one image; see `predict`."""
        return np.concatenate([band for _, band in self.predict([image])], axis=1)

    def predict(self, images: Sequence[NormalizedImage]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Predict images of one size.

        Parameters
        ----------
        images : sequence of NormalizedImage
            Without tiles, they are one batch.

        Yields
        ------
        int
            Index of the image.
        (K, h, W) array of float32
            Probability of the foreground (K is 1), or of each of more than two classes: the whole image; with tiles its
            next rows, from top to bottom, and memory holds no more than a row of tiles.

        Raises
        ------
        TrainingError
            If the network cannot process images of this shape.
        PredictionError
            If the memory is too small, or a probability is NaN.
        """
        if self.tile_axes is None:
            for _, result in self.predict_batches([self.batch(images)]):
                yield from enumerate(result.values)
            return
        size, where = images[0].size, _describe(images)

        def run(batches: Iterable[tuple[Any, torch.Tensor]]) -> Iterator[tuple[Any, torch.Tensor]]:
            tensors = ((key, [tiles.pin_memory() if self.pinned else tiles]) for key, tiles in batches)
            for key, result in run_batches(self.transfer, lambda tiles, _: _with_nan(self.forward(tiles[0])), tensors):
                _require_numbers(where, result)
                yield key, torch.from_numpy(result.values)

        with memory_errors(where, self.memory_remedy(inside_network=True)):
            sources = [image.rows for image in images]
            for index, band in predict_bands(run, sources, size, *self.tile_axes(*size), self.limit):
                yield index, band.numpy()

    def batch(
        self, images: Sequence[NormalizedImage], owners: Sequence[Any] = (), values: Values = "probability"
    ) -> Batch:
        """Copy images of one size into a batch for `predict_batches`.

        Raises
        ------
        PredictionError
            If the network cannot process images of this size, or the memory is too small.
        """
        where = _describe(images)
        if problem := self.size_problem(where, images[0].size):
            raise PredictionError(problem)
        with memory_errors(where, self.memory_remedy(inside_network=True)):
            return Batch(where, owners, HostBatch.of(images, pinned=self.pinned), values)

    def predict_batches(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Result]]:
        """Predict batches of whole images; on a GPU, the next batch runs while the results of this one are used.

        Raises
        ------
        TrainingError, PredictionError
            See `predict`.
        """

        def run(tensors: Sequence[torch.Tensor], batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
            with memory_errors(batch.where, self.memory_remedy(inside_network=True)):
                probability, has_nan = _with_nan(self.forward(normalize(HostBatch(*tensors))))
                return _CONVERSIONS[batch.values](probability), has_nan

        for batch, result in run_batches(self.transfer, run, ((batch, batch.images) for batch in batches)):
            _require_numbers(batch.where, result)
            yield batch, result

    @property
    def pinned(self) -> bool:
        """Whether batches are copied into memory that a GPU reads while the CPU goes on."""
        return self.device.type == "cuda"

    def size_problem(self, where: str, size: tuple[int, int]) -> Problem | None:
        """Return the problem of an input (height, width) for which the output of the network is not aligned."""
        if not self.info.model.fixed_size or size == self.info.size:
            return None
        expected = f"{' x '.join(map(str, self.info.size))} pixels, as in training: {_stretches(self.info)}"
        remedy = "set `size` of the data set and train again, or train with `padding: mirror` of the model"
        return Problem(where, f"{size[0]} x {size[1]} pixels (height x width)", expected, remedy)

    def memory_remedy(self, *, inside_network: bool = False) -> str:
        """Return what to do if the memory is too small: for the network, or for an image and its results."""
        if self.tile_axes is not None:
            return _SMALLER_TILES if inside_network else MORE_MEMORY
        takes_whole_images = inside_network or self.info.preparation.fixed_size is None
        return _TILES if takes_whole_images and not self.info.model.fixed_size else MORE_MEMORY

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, background first."""
        return self.info.class_names

    @property
    def multiclass(self) -> bool:
        """Whether there is more than one foreground class."""
        return len(self.classes) > 2

    @property
    def inside_only(self) -> bool:
        """Whether the training loss counted only pixels inside fields of view, where samples have one."""
        return self.info.settings.loss.region == "fov"


def load_predictor(
    checkpoint: Path,
    *,
    precision: Precision,
    threads: int,
    tiles: Tiles | None = None,
    test_time: TestTime = "none",
) -> Predictor:
    """Load a checkpoint onto the best available device.

    Parameters
    ----------
    checkpoint : Path
        Checkpoint file that `pipeline.training.run.train` wrote.
    precision : {'fp32', 'bf16', 'auto'}
    threads : int
    tiles : Tiles, optional
        See `blended_axis`. For a network of valid convolutions only their size matters: see `valid_axis`. Without
        tiles, every image is predicted as a whole.
    test_time : {'none', 'horizontal', 'flips', 'rot90'}
        See `pipeline.prediction.symmetries`.

    Raises
    ------
    CheckpointError, TrainingError
    ConfigError
        If tiles do not fit the network.
    """
    device = choose_device()
    resolved_precision = choose_precision(precision, device)
    runs_on = f"{describe_device(device)}, {resolved_precision}, {threads} threads"
    prepare_cpu(threads)
    prepare_fp32(exact=True)
    info, network = _load_network(checkpoint)
    if info.model.fixed_size and tiles is not None:
        expected = f"whole images of the size of the training samples: {_stretches(info)}"
        remedy = "predict without tiles, or train with `padding: mirror` of the model"
        raise ConfigError("tiles", f"tiles for {checkpoint}", expected, remedy)
    if info.model.fixed_size and test_time == "rot90" and info.size[0] != info.size[1]:
        expected = f"views of the size of the training samples: {_stretches(info)}"
        raise ConfigError("test_time", f"rot90 for {checkpoint}", expected, "use flips")
    network = network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    unpadded = network if tiles is not None and isinstance(network, Unpadded) and not network.padded else None
    body: Callable[[torch.Tensor], Any] = network if unpadded is None else unpadded.valid_forward

    def run(image: torch.Tensor) -> torch.Tensor:
        image = image.contiguous(memory_format=torch.channels_last)
        return activate(run_network(body, image, resolved_precision), info.activation)

    limit = PixelLimit(device)
    run_views = average_views(limit.within_memory(run), test_time, limit)

    @torch.no_grad()
    def forward(image: torch.Tensor) -> torch.Tensor:
        return run_views(image.to(device))

    if tiles is None:
        return Predictor(info, device, forward, runs_on, limit, transfer_for(device))
    tile_axis: Callable[[int, int], TileAxis]
    if unpadded is not None:
        tile_axis = partial(valid_axis, margins=unpadded.margins, multiple=unpadded.multiple)
    else:
        tile_axis = partial(blended_axis, multiple=network.multiple, overlap=tiles.overlap, margin=tiles.margin)
    for side in tiles.size:
        tile_axis(side, side)  # raises before the first image if the tiles do not fit the network

    def tile_axes(height: int, width: int) -> tuple[TileAxis, TileAxis]:
        return tile_axis(height, tiles.size[0]), tile_axis(width, tiles.size[1])

    return Predictor(info, device, forward, runs_on, limit, transfer_for(device), tile_axes)


def _describe(images: Sequence[NormalizedImage]) -> str:
    """Return the names, the number and the size of images, for messages."""
    (height, width), names = images[0].size, ", ".join(image.name for image in images[:_MAX_LISTED])
    return f"{names}{', ...' * (len(images) > _MAX_LISTED)} ({len(images)} of {height} x {width} pixels)"


def _with_nan(probability: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return probabilities and whether one is NaN, as a tensor, because reading it would wait for the device."""
    return probability, probability.isnan().any()


def _require_numbers(where: str, result: Result) -> None:
    """Refuse NaN, which in 8 bits would look like certain background."""
    if result.has_nan:
        remedy = "train again with a lower learning rate; with `precision: bf16`, try fp32"
        found, expected = "probabilities that are not numbers (NaN)", "numbers from 0 to 1"
        raise PredictionError(where, found, expected, remedy)


def _stretches(info: CheckpointInfo) -> str:
    return f"the network {info.model.name} stretches its output, which is aligned for no other size"


def _load_network(path: Path) -> tuple[CheckpointInfo, nn.Module]:
    """Build the network of a checkpoint and load its weights, which fit."""
    loaded = load_checkpoint(path)
    info = loaded.info
    network = build_model(info.model, in_channels=info.in_channels, out_channels=info.out_channels)
    network.load_state_dict(loaded.state)
    return info, network


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished its queued work, so that times can be measured."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
