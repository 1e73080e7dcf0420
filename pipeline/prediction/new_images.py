"""From a checkpoint and any folder of images to probabilities, masks, overlays and cut-outs at native size."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from pipeline.core.counts import cut_level, to_levels
from pipeline.core.errors import ConfigError, OutputError, Problem, RawDataError
from pipeline.core.files import atomic_folder
from pipeline.core.parallel import in_order
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
from pipeline.shards.prepare import normalization, resize_image, store
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
    """Predict images that belong to no data set, of whatever size.

    Parameters
    ----------
    checkpoint : Path
        What `pipeline.training.run.train` wrote.
    images : Path
        An image, or a folder that is searched with all folders below it; hidden ones are passed over.
    output : Path
        Folder for ``probability/`` (see `write_probability`), ``mask/`` (0 and 255; class indices where there are
        more than two), ``colour/`` and ``legend.png`` (only then), ``overlay/``, ``cutout/`` (the image with its
        background transparent) and ``timing.csv``, all at native size. It appears only when all is there, and
        replaces only what an earlier prediction of images wrote.
    precision : {'fp32', 'bf16', 'auto'}
    threads : int
    threshold : float, optional
        Of two classes; a pixel is foreground where its probability is above. Without it 0.5.
    tiles, test_time
        See `load_predictor`.
    skip_unreadable : bool
        Leave out files that cannot be used, and say which, instead of refusing to begin.

    Raises
    ------
    RawDataError
        Listing every file that cannot be used, before anything is predicted.
    CheckpointError, ConfigError, PredictionError, TrainingError, OutputError
    """
    found = list_images(images, output)
    _require_own_folder(output, images)
    network = load_predictor(checkpoint, precision=precision, threads=threads, tiles=tiles, test_time=test_time)
    if threshold is not None and network.multiclass:
        raise ConfigError(
            "threshold",
            f"{threshold:g}, while {checkpoint} knows the classes {', '.join(network.classes)}",
            "a threshold only where there are two classes",
            "leave it out: every pixel goes to its likeliest class",
        )
    preparation = network.about.preparation
    found = _usable(found, preparation, skip_unreadable)
    log(f"{len(found)} images on {network.runs_on}")
    if network.inside_only:
        log(
            "the network was trained inside the field of view, where its data set has one: "
            "outside of any field of view its probabilities mean little"
        )
    first = _load(found[0], preparation)[1]
    network(first if tiles is None else first[..., : tiles.size[0], : tiles.size[1]])  # what happens once is not timed
    with atomic_folder(output) as folder:
        draw = _Painter(folder, network, cut_level(0.5 if threshold is None else threshold))
        rows = list(in_order(draw, _predictions(network, found), threads=2))
        write_table(folder / _TIMING, pd.DataFrame(rows))
    log(f"{output}: {len(rows)} images, {sum(row['network_seconds'] for row in rows):.2f} s in the network")


class _Prediction(NamedTuple):
    """What the network said of an image, and how long it took."""

    file: ImageFile
    pixels: Pixels
    probability: NDArray[np.float32]
    started: float
    seconds: float


def _predictions(network: Predictor, images: Sequence[ImageFile]) -> Iterator[_Prediction]:
    """Predict one image after another."""
    for file in progress_bar(images, "images", len(images)):
        started = time.perf_counter()
        pixels, image = _load(file, network.about.preparation)
        synchronize(network.device)
        before = time.perf_counter()
        probability = network(image)[0].numpy()
        synchronize(network.device)
        yield _Prediction(file, pixels, probability, started, time.perf_counter() - before)


class _Painter:
    """Writes everything that is made from one prediction, and returns its row of the table of times."""

    def __init__(self, folder: Path, network: Predictor, cut: int) -> None:
        self.folder, self.classes, self.multiclass, self.cut = folder, network.classes, network.multiclass, cut
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
            foreground = to_levels(native[0]) > self.cut
            mask = foreground.astype(np.uint8) * np.uint8(255)
            painted = overlay(image, foreground, None)
        write_probability(self.folder / "probability", file.id, native, self.classes)
        write_png(self.folder / "mask" / name, mask)
        write_png(self.folder / "overlay" / name, painted)
        write_png(self.folder / "cutout" / name, np.dstack([image, foreground.astype(np.uint8) * np.uint8(255)]))
        times = {"network_seconds": predicted.seconds, "total_seconds": time.perf_counter() - predicted.started}
        return {"id": file.id, "height": height, "width": width, **times}


def _usable(found: Sequence[ImageFile], preparation: Preparation, skip: bool) -> list[ImageFile]:
    """Decode every file once before the network sees any; return those that can be used."""

    def problems_of(file: ImageFile) -> tuple[Problem, ...]:
        try:
            _load(file, preparation)
        except RawDataError as error:
            return error.problems
        return ()

    problems = dict(
        zip(found, progress_bar(in_order(problems_of, found, 2), "reading images", len(found)), strict=True)
    )
    usable = [file for file in found if not problems[file]]
    unusable = [problem for some in problems.values() for problem in some]
    if unusable and (not skip or not usable):
        raise RawDataError(unusable)
    for problem in unusable:
        log(f"left out: {problem}")
    return usable


def _load(file: ImageFile, how: Preparation) -> tuple[Pixels, torch.Tensor]:
    """Decode an image; return its pixels, and (1, C, H, W) float32 as shards are prepared."""
    decoded = decode(read_bytes(file.path), file.path)
    pixels = as_channels(decoded, how.channels, file.path)
    height, width = how.fixed_size or pixels.shape[:2]
    if min(height, width) < SMALLEST:
        raise RawDataError(
            str(file.path),
            f"{width}x{height} pixels (width x height)",
            f"{SMALLEST} pixels or more on each side",
            "enlarge the image, or leave it out",
        )
    resized = resize_image(pixels, height, width, how.interpolation)
    try:
        stored = store(resized, *normalization(resized, how.normalize), "float32")
    except ValueError as error:
        expected = "an image of the kind that the network was trained on"
        raise RawDataError(str(file.path), str(error), expected, "convert the image") from error
    return decoded, torch.from_numpy(stored)[None]


def _require_own_folder(output: Path, source: Path) -> None:
    """Refuse an output folder that holds anything else: it would be replaced as a whole."""
    if not output.exists():
        return
    there = {path.name for path in output.iterdir()} if output.is_dir() else {output.name}
    if output.resolve() in (source.resolve(), *source.resolve().parents):
        found = "the folder that the images lie in"
    elif there and not (_TIMING in there and there <= {*_FOLDERS, _TIMING, _LEGEND}):
        found = f"{', '.join(sorted(there)[:5])}, which this command did not write together"
    else:
        return
    expected = "a new or empty folder, or one that this command wrote: it is replaced as a whole"
    raise OutputError(str(output), found, expected, "name another --output")
