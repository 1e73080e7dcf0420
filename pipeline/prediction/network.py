"""A trained network, loaded: normalized images in, probabilities out."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from pipeline.core.errors import CheckpointError, PredictionError
from pipeline.models.registry import build_model
from pipeline.prediction.recipes import TestTime, Tiles
from pipeline.prediction.symmetries import averaged
from pipeline.prediction.tiles import Axis, Forward, blended_axis, predict_tiles, valid_axis
from pipeline.training.checkpoint import Trained, load_checkpoint
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


@runtime_checkable
class Unpadded(Protocol):
    """A network that may have valid convolutions.

    It is known by what it can do: importing its class would make the predictions of all networks depend on that code.
    """

    padded: bool
    multiple: int

    def valid_forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, C, H, W) to the logits of the pixels that saw no border."""

    def margins(self, side: int) -> tuple[int, int]:
        """Return how much smaller than a side the output is, before and behind."""


@dataclass(frozen=True)
class Predictor:
    """Probabilities of normalized images.

    Parameters
    ----------
    about : Trained
        What the checkpoint says of the network.
    device : torch.device
    forward : callable
        Maps (N, C, H, W) float32 to (N, K, H, W) float32.
    runs_on : str
        Hardware, precision and number of threads, for messages.
    """

    about: Trained
    device: torch.device
    forward: Forward
    runs_on: str

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Predict.

        Parameters
        ----------
        image : (N, C, H, W) float32 tensor on the CPU
            Normalized.

        Returns
        -------
        (N, 1, H, W) float32 tensor on the CPU
            Probability of the foreground; (N, K, H, W) of all classes where there are more than two.

        Raises
        ------
        TrainingError
            If the network cannot take images of this shape.
        PredictionError
            If the memory does not suffice, or the network answers with what is no number.
        """
        where = f"a batch of shape {tuple(image.shape)}"
        try:
            with torch.no_grad():
                probability = self.forward(image).cpu()
        except RuntimeError as error:
            if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
                raise
            found = f"more than the memory of the device ({self.device.type}) holds"
            remedy = "predict tiles: `tiles: {size: [512, 512]}` in the experiment, or `--tiles 512 512`"
            raise PredictionError(where, found, "images that fit into the memory", remedy) from error
        if probability.isnan().any():  # as an image it would look like sure background
            remedy = "train again with a lower learning rate; with `precision: bf16`, try fp32"
            raise PredictionError(where, "probabilities that are no numbers", "numbers from 0 to 1", remedy)
        return probability

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, background first."""
        return self.about.class_names

    @property
    def multiclass(self) -> bool:
        """Whether there is more than one foreground class."""
        return len(self.classes) > 2

    @property
    def inside_only(self) -> bool:
        """Whether only the inside of the field of view counted in training, where there was one."""
        return self.about.settings.loss.region == "fov"


def load_predictor(
    checkpoint: Path,
    *,
    precision: Precision,
    threads: int,
    tiles: Tiles | None = None,
    test_time: TestTime = "none",
) -> Predictor:
    """Load a checkpoint onto the best device there is.

    Parameters
    ----------
    checkpoint : Path
        What `pipeline.training.run.train` wrote.
    precision : {'fp32', 'bf16', 'auto'}
    threads : int
    tiles : Tiles, optional
        See `blended_axis`. A network of valid convolutions takes their size alone: see `valid_axis`. Without tiles,
        every image is predicted whole.
    test_time : {'none', 'flips', 'rot90'}
        See `pipeline.prediction.symmetries`.

    Raises
    ------
    CheckpointError, TrainingError
    ConfigError
        If tiles do not fit the network.
    """
    device = choose_device()
    chosen = choose_precision(precision, device)
    runs_on = f"{describe_device(device)}, {chosen}, {threads} threads"
    prepare_cpu(threads)
    prepare_fp32(exact=True)
    about, network = _load_network(checkpoint)
    network = network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    unpadded = network if tiles is not None and isinstance(network, Unpadded) and not network.padded else None
    body: Callable[[torch.Tensor], Any] = network if unpadded is None else unpadded.valid_forward

    def run(image: torch.Tensor) -> torch.Tensor:
        image = image.contiguous(memory_format=torch.channels_last)
        return activate(run_network(body, image, chosen), about.activation)

    run_views = averaged(run, test_time)

    def forward(image: torch.Tensor) -> torch.Tensor:
        return run_views(image.to(device))

    if tiles is None:
        return Predictor(about, device, forward, runs_on)
    tile_axis: Callable[[int, int], Axis]
    if unpadded is not None:
        tile_axis = partial(valid_axis, margins=unpadded.margins, multiple=unpadded.multiple)
    else:
        tile_axis = partial(blended_axis, multiple=network.multiple, overlap=tiles.overlap, margin=tiles.margin)
    for side in tiles.size:
        tile_axis(side, side)  # what does not fit is said before the first image

    def forward_tiles(image: torch.Tensor) -> torch.Tensor:
        rows, columns = (tile_axis(length, side) for length, side in zip(image.shape[-2:], tiles.size, strict=True))
        return predict_tiles(forward, image, rows, columns)

    return Predictor(about, device, forward_tiles, runs_on)


def _load_network(path: Path) -> tuple[Trained, nn.Module]:
    """Build the network of a checkpoint, with its weights."""
    loaded = load_checkpoint(path)
    about = loaded.about
    channels = {"in_channels": about.in_channels, "out_channels": about.out_channels}
    try:
        network = build_model(about.model, **channels)
        network.load_state_dict(loaded.state)
    except (RuntimeError, TypeError, ValueError) as error:
        found = f"weights of another network than the one it names ({' '.join(str(error).split())[:160]})"
        expected = f"weights of {about.model} with {channels}"
        raise CheckpointError(str(path), found, expected, "train again with this version of the pipeline") from error
    return about, network


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all it was given, so that a clock tells the truth."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
