"""Predict any folder of images: probabilities, masks, overlays and cut-outs at native size."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from pipeline.core.counts import threshold_level, to_levels
from pipeline.core.errors import ConfigError, OutputError, Problem, RawDataError
from pipeline.core.files import atomic_folder
from pipeline.core.parallel import thread_map
from pipeline.core.progress import log, progress_bar
from pipeline.core.tables import write_table
from pipeline.images.colours import legend, overlay_classes, paint
from pipeline.images.figures import for_display, overlay
from pipeline.images.png import write_png
from pipeline.models.shapes import SMALLEST
from pipeline.prediction.listing import ImageFile, list_images
from pipeline.prediction.network import Predictor, load_predictor, synchronize
from pipeline.prediction.predict import class_indices, resize_planes, write_probability
from pipeline.prediction.recipes import TestTime, Tiles
from pipeline.raw.decode.image import Pixels, as_channels, decode, read_bytes
from pipeline.raw.decode.palette import class_colours
from pipeline.shards.prepare import encode, normalization, resize_image
from pipeline.shards.recipes import Preparation
from pipeline.training.recipes import Precision

_FOLDERS = ("probability", "mask", "overlay", "cutout", "colour")
_TIMING = "timing.csv"
_LEGEND = "legend.png"


def predict_images(
    *,
    checkpoint: Path,
    images: Path,
    output: Path,
    precision: Precision,
    threads: int,
    threshold: float | None = None,
    tiles: Tiles | None = None,
    test_time: TestTime = "none",
    skip_unreadable: bool = False,
) -> None:
    """Predict images of any size that belong to no data set.

    Parameters
    ----------
    checkpoint : Path
        Checkpoint file that `pipeline.training.run.train` wrote.
    images : Path
        An image, or a folder that is searched recursively; hidden files and folders are skipped.
    output : Path
        Folder for ``probability/`` (see `write_probability`), ``mask/`` (0 and 255; class indices with more than two
        classes), ``colour/`` and ``legend.png`` (only with more than two classes), ``overlay/``, ``cutout/`` (the image
        with transparent background) and ``timing.csv``, all at native size. It is created when all its files are
        complete, and replaces only a folder that an earlier prediction of images wrote.
    precision : {'fp32', 'bf16', 'auto'}
    threads : int
    threshold : float, optional
        Only with two classes: a pixel is foreground where its probability is above. The default is 0.5.
    tiles, test_time
        See `load_predictor`.
    skip_unreadable : bool
        Skip files that cannot be used, with a log line for each, instead of raising an error.

    Raises
    ------
    RawDataError
        Lists every file that cannot be used, before anything is predicted.
    CheckpointError, ConfigError, PredictionError, TrainingError, OutputError
    """
    files = list_images(images, output)
    _require_replaceable(output, images)
    network = load_predictor(checkpoint, precision=precision, threads=threads, tiles=tiles, test_time=test_time)
    if threshold is not None and network.multiclass:
        raise ConfigError(
            "--threshold",
            f"{threshold:g} for a network with {len(network.classes)} classes, {checkpoint}",
            "a threshold only for two classes",
            "leave it out: every pixel gets its most probable class",
        )
    preparation = network.info.preparation
    files = _usable_files(files, preparation, skip_unreadable)
    log(f"{len(files)} images on {network.runs_on}")
    if network.inside_only:
        log(
            "the network was trained only inside the field of view, if its data set has one: "
            "its probabilities outside of any field of view are not reliable"
        )
    first = _load(files[0], preparation)[1]
    # warm-up: keeps one-time initialization out of the times
    network(first if tiles is None else first[..., : tiles.size[0], : tiles.size[1]])
    with atomic_folder(output) as folder:
        write_images = _ImageWriter(folder, network, threshold_level(0.5 if threshold is None else threshold))
        rows = list(thread_map(write_images, _predictions(network, files), threads=2))
        write_table(folder / _TIMING, pd.DataFrame(rows))
    log(f"{output}: {len(rows)} images, {sum(row['network_seconds'] for row in rows):.2f} s in the network")


class _Prediction(NamedTuple):
    """The prediction of one image, and the time that it took."""

    file: ImageFile
    pixels: Pixels
    probability: NDArray[np.float32]
    started: float
    seconds: float


def _predictions(network: Predictor, images: Sequence[ImageFile]) -> Iterator[_Prediction]:
    """Predict the images one after another."""
    for file in progress_bar(images, "images", len(images)):
        started = time.perf_counter()
        pixels, image = _load(file, network.info.preparation)
        synchronize(network.device)
        network_started = time.perf_counter()
        probability = network(image)[0].numpy()
        synchronize(network.device)
        yield _Prediction(file, pixels, probability, started, time.perf_counter() - network_started)


class _ImageWriter:
    """Writes all images of one prediction, and returns its row of the table of times."""

    def __init__(self, folder: Path, network: Predictor, level: int) -> None:
        self.folder, self.classes, self.multiclass, self.level = folder, network.classes, network.multiclass, level
        self.colours = class_colours(self.classes)
        for name in _FOLDERS if self.multiclass else _FOLDERS[:-1]:
            (folder / name).mkdir()
        if self.multiclass:
            write_png(folder / _LEGEND, legend(self.classes, self.colours))

    def __call__(self, predicted: _Prediction) -> dict[str, Any]:
        file, name = predicted.file, f"{predicted.file.id}.png"
        image = for_display(as_channels(predicted.pixels, "rgb", file.path))
        height, width = image.shape[:2]
        native = resize_planes(predicted.probability, height, width)
        if self.multiclass:
            mask = class_indices(native)
            foreground = mask > 0
            write_png(self.folder / "colour" / name, paint(mask, self.colours))
            painted = overlay_classes(image, mask, None, self.colours)
        else:
            foreground = to_levels(native[0]) > self.level
            mask = foreground.astype(np.uint8) * np.uint8(255)
            painted = overlay(image, foreground, None)
        write_probability(self.folder / "probability", file.id, native, self.classes)
        write_png(self.folder / "mask" / name, mask)
        write_png(self.folder / "overlay" / name, painted)
        write_png(self.folder / "cutout" / name, np.dstack([image, foreground.astype(np.uint8) * np.uint8(255)]))
        times = {"network_seconds": predicted.seconds, "total_seconds": time.perf_counter() - predicted.started}
        return {"id": file.id, "height": height, "width": width, **times}


def _usable_files(files: Sequence[ImageFile], preparation: Preparation, skip: bool) -> list[ImageFile]:
    """Decode every file once, before any is predicted; return those that can be used."""

    def problems_of(file: ImageFile) -> tuple[Problem, ...]:
        try:
            _load(file, preparation)
        except RawDataError as error:
            return error.problems
        return ()

    problems_of_file = dict(
        zip(files, progress_bar(thread_map(problems_of, files, 2), "reading images", len(files)), strict=True)
    )
    usable = [file for file in files if not problems_of_file[file]]
    problems = [problem for file_problems in problems_of_file.values() for problem in file_problems]
    if problems and (not skip or not usable):
        raise RawDataError(problems)
    for problem in problems:
        log(f"skipped: {problem}")
    return usable


def _load(file: ImageFile, preparation: Preparation) -> tuple[Pixels, torch.Tensor]:
    """Decode an image; return its pixels, and (1, C, H, W) float32 prepared in the same way as shards."""
    decoded = decode(read_bytes(file.path), file.path)
    pixels = as_channels(decoded, preparation.channels, file.path)
    height, width = preparation.fixed_size or pixels.shape[:2]
    if min(height, width) < SMALLEST:
        raise RawDataError(
            str(file.path),
            f"{width}x{height} pixels (width x height)",
            f"{SMALLEST} pixels or more on each side",
            "enlarge the image, or remove it",
        )
    resized = resize_image(pixels, height, width, preparation.interpolation)
    try:
        stored = encode(resized, *normalization(resized, preparation.normalize), "float32")
    except ValueError as error:
        expected = "an image of the same kind as the training images"
        raise RawDataError(str(file.path), str(error), expected, "convert the image") from error
    return decoded, torch.from_numpy(stored)[None]


def _require_replaceable(output: Path, source: Path) -> None:
    """Refuse an output folder that contains other files, because the whole folder is replaced."""
    if not output.exists():
        return
    names = {path.name for path in output.iterdir()} if output.is_dir() else {output.name}
    if output.resolve() in (source.resolve(), *source.resolve().parents):
        conflict = "the folder that contains the input images"
    elif names and not (_TIMING in names and names <= {*_FOLDERS, _TIMING, _LEGEND}):
        conflict = f"files that `predict` did not write: {', '.join(sorted(names)[:5])}"
    else:
        return
    expected = "a new or empty folder, or one that `predict` wrote, because the whole folder is replaced"
    raise OutputError(str(output), conflict, expected, "choose another folder with --output")
