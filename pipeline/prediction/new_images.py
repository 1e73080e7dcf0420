"""Predict any folder of images: probabilities, masks, overlays and cut-outs at native size."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from pipeline.core.counts import VOID, threshold_level, to_levels
from pipeline.core.errors import ConfigError, OutputError, PipelineError, Problem, RawDataError, plural
from pipeline.core.files import atomic_folder, exists, is_folder, names_in, real_path, require_short
from pipeline.core.parallel import read_ahead, thread_map
from pipeline.core.progress import log, progress_bar
from pipeline.core.tables import write_table
from pipeline.images.colours import legend, overlay_classes, paint
from pipeline.images.figures import RgbImage, display_limits, for_display, overlay
from pipeline.images.png import PngWriter, write_png
from pipeline.models.shapes import SMALLEST
from pipeline.prediction.alike import Comparison
from pipeline.prediction.bands import LARGE, Band, ProbabilityWriter, class_indices, native_bands
from pipeline.prediction.listing import ImageFile, list_images
from pipeline.prediction.memory import memory_errors
from pipeline.prediction.network import Batch, Predictor, Values, load_predictor, synchronize
from pipeline.prediction.normalized import NormalizedImage
from pipeline.prediction.recipes import SourcedThreshold, TestTime, Tiles
from pipeline.raw.decode.image import Pixels, as_channels, read_file
from pipeline.raw.decode.palette import class_colours
from pipeline.shards.prepare import encode, normalization, resize_image
from pipeline.training.recipes import Precision

_COLOUR = "colour"
_CHANNELS = {"mask": 1, "overlay": 3, "cutout": 4, _COLOUR: 3}  # of each rendering
_TIMING = "timing.csv"
_LEGEND = "legend.png"
_KEPT_BYTES = 2**28  # of decoded images that are kept from their check until they are predicted
_DEFAULT_THRESHOLD = SourcedThreshold(0.5, "the default")


def predict_images(
    *,
    checkpoint: Path,
    images: Path,
    output: Path,
    precision: Precision,
    threads: int,
    threshold: SourcedThreshold = _DEFAULT_THRESHOLD,
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
        Folder for ``probability/`` (see `ProbabilityWriter`), ``mask/`` (0 and 255; class indices with more than two
        classes, and 255 for pixels without data), ``colour/`` and ``legend.png`` (only with more than two classes),
        ``overlay/``, ``cutout/`` (the image with transparent background) and ``timing.csv``, all at native size. It is
        created when all its files are complete, and replaces only a folder that an earlier prediction of images wrote.
    precision : {'fp32', 'bf16', 'auto'}
    threads : int
    threshold : SourcedThreshold
        Only with two classes: a pixel is foreground where its probability is above. It is logged with its source.
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
    require_replaceable(output, images)
    network = load_predictor(checkpoint, precision=precision, threads=threads, tiles=tiles, test_time=test_time)
    if threshold.given and network.multiclass:
        raise ConfigError(
            "--threshold",
            f"{threshold.value:g} for a network with {len(network.classes)} classes, {checkpoint}",
            "a threshold only for two classes",
            "leave it out: every pixel gets its most probable class",
        )
    longest_class = max(network.classes, key=len) if network.multiclass else ""
    require_short(output, f"probability/{longest_class}/{max((file.id for file in files), key=len)}.png")
    files, kept, large = _usable_files(files, network, skip_unreadable)
    log(f"{plural(len(files), 'image')} on {network.runs_on}")
    if not network.multiclass:
        log(f"threshold {threshold.value:g} ({threshold.source})")
    # where NoData pixels are ignored, their mask is a field of view too, but none that new images lack
    if network.inside_only and network.info.has_fov and network.info.preparation.nodata != "ignore":
        log(
            "the network was trained only inside the field of view of its images: "
            "its probabilities outside of any field of view are not reliable"
        )
    first = (kept.get(files[0]) or load_image(files[0], network)).image
    # warm-up: keeps one-time initialization out of the times
    network(first if tiles is None else first.top_left(*tiles.size))
    del first
    with atomic_folder(output) as folder, memory_errors(str(images), network.memory_remedy()):
        write_images = _ImageWriter(folder, network, threshold_level(threshold.value))
        if large or tiles is not None:  # one by one: no variable holds an image while the next one is decoded
            shown = progress_bar(files, "images", len(files))
            predictions: Iterator[_Prediction] = (_predict(network, file, kept, large) for file in shown)
        else:
            predictions = progress_bar(_predictions(network, files, kept, threads), "images", len(files))
        # even with one thread: the network would wait for the disk
        rows = list(thread_map(write_images, predictions, threads=1 if large else max(2, threads)))
        write_table(folder / _TIMING, pd.DataFrame(rows))
    log(f"{output}: {plural(len(rows), 'image')}, {sum(row['network_seconds'] for row in rows):.2f} s in the network")


class LoadedImage(NamedTuple):
    """The decoded pixels of an image, those that have data (None: all), what the network gets, seconds of decoding."""

    pixels: Pixels
    valid: NDArray[np.bool_] | None
    image: NormalizedImage
    seconds: float

    @property
    def native_size(self) -> tuple[int, int]:
        """Height and width of the image."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes of memory, at most."""
        return self.pixels.nbytes + self.image.stored.nbytes + (0 if self.valid is None else self.valid.nbytes)


class _Prediction(NamedTuple):
    """The prediction of one image at native size.

    `bands` are probabilities in float32, or levels in uint8. `seconds` are those of the network; `spent_seconds` those
    of all work before `bands` are read.
    """

    file: ImageFile
    pixels: Pixels
    valid: NDArray[np.bool_] | None
    bands: Iterable[NDArray[Any]]
    spent_seconds: float
    seconds: list[float]


_Kept = dict[ImageFile, LoadedImage]


def _predictions(network: Predictor, files: Sequence[ImageFile], kept: _Kept, threads: int) -> Iterator[_Prediction]:
    """Predict whole images; the next ones are decoded while the network runs."""

    def load(file: ImageFile) -> tuple[ImageFile, LoadedImage]:
        return file, kept.pop(file, None) or load_image(file, network)

    def batch(group: Sequence[tuple[ImageFile, LoadedImage]]) -> Batch:
        unchanged = all(loaded.native_size == loaded.image.size for _, loaded in group)
        values: Values = "levels" if unchanged and not network.multiclass else "probability"
        return network.batch([loaded.image for _, loaded in group], group, values)

    groups = _groups(thread_map(load, files, threads), network)
    for predicted, result in network.predict_batches(read_ahead(map(batch, groups))):
        seconds = result.seconds / len(predicted.owners)
        for (file, loaded), values in zip(predicted.owners, result.values, strict=True):
            native = native_bands([values], loaded.image.size, loaded.native_size)
            yield _Prediction(file, loaded.pixels, loaded.valid, native, loaded.seconds + seconds, [seconds])


def _groups(
    images: Iterable[tuple[ImageFile, LoadedImage]], network: Predictor
) -> Iterator[list[tuple[ImageFile, LoadedImage]]]:
    """Join successive images of one size to batches."""
    group: list[tuple[ImageFile, LoadedImage]] = []
    for file, loaded in images:
        size = loaded.image.size
        if group and (group[0][1].image.size != size or len(group) >= _most_in_batch(network, size)):
            yield group
            group = []
        group.append((file, loaded))
    if group:
        yield group


def _most_in_batch(network: Predictor, size: tuple[int, int]) -> int:
    """Return the images of a batch: one on a CPU, which batches do not make faster."""
    return 1 if network.device.type == "cpu" else network.limit.batch(*size)


def _predict(network: Predictor, file: ImageFile, kept: _Kept, large: bool) -> _Prediction:
    """Predict one image in tiles, or a large one, while its bands are read."""
    seconds = list[float]()
    loaded = kept.pop(file, None) or load_image(file, network)
    bands = _timed(network, loaded.image, seconds)
    native = native_bands(bands if large else list(bands), loaded.image.size, loaded.native_size)
    return _Prediction(file, loaded.pixels, loaded.valid, native, loaded.seconds + sum(seconds), seconds)


def _timed(network: Predictor, image: NormalizedImage, seconds: list[float]) -> Iterator[Band]:
    """Predict an image, and append to `seconds` the time of each band."""
    bands = network.predict([image])
    while True:
        synchronize(network.device)
        started = time.perf_counter()
        _, band = next(bands, (0, None))
        synchronize(network.device)
        seconds.append(time.perf_counter() - started)
        if band is None:
            return
        yield band


class _ImageWriter:
    """Writes all images of one prediction, and returns its row of the table of times."""

    def __init__(self, folder: Path, network: Predictor, level: int) -> None:
        self.folder, self.classes, self.multiclass, self.level = folder, network.classes, network.multiclass, level
        self.has_background = network.info.settings.has_background
        self.colours = class_colours(self.classes, background=self.has_background)
        self.channels = (
            _CHANNELS if self.multiclass else {name: _CHANNELS[name] for name in _CHANNELS if name != _COLOUR}
        )
        for name in ("probability", *self.channels):
            (folder / name).mkdir()
        ignores_pixels = network.info.preparation.nodata == "ignore"
        if self.multiclass:
            write_png(folder / _LEGEND, legend(self.classes, self.colours, void=ignores_pixels))

    def __call__(self, predicted: _Prediction) -> dict[str, Any]:
        started, file, pixels = time.perf_counter(), predicted.file, predicted.pixels
        size = height, width = pixels.shape[0], pixels.shape[1]
        limits, top = _display_limits(pixels), 0
        with ExitStack() as files:
            probability = ProbabilityWriter(files, self.folder / "probability", file.id, size, self.classes)
            writers = {
                name: files.enter_context(PngWriter(self.folder / name / f"{file.id}.png", *size, channels))
                for name, channels in self.channels.items()
            }
            for band in predicted.bands:
                rows = pixels[top : top + band.shape[1]]
                valid = None if predicted.valid is None else predicted.valid[top : top + len(rows)]
                band = band if valid is None else band * valid
                top += len(rows)
                levels = band if band.dtype == np.uint8 else to_levels(band)
                probability.write(levels)
                image = for_display(as_channels(rows, "rgb", file.path), limits)
                for name, rendering in self._render(image, band, levels, valid).items():
                    writers[name].write(rendering)
        times = {
            "network_seconds": sum(predicted.seconds),
            "total_seconds": predicted.spent_seconds + time.perf_counter() - started,
        }
        return {"id": file.id, "height": height, "width": width, **times}

    def _render(
        self, image: RgbImage, band: Band, levels: NDArray[np.uint8], valid: NDArray[np.bool_] | None
    ) -> dict[str, NDArray[np.uint8]]:
        """Return the rows of every rendering."""
        renderings = {}
        if self.multiclass:
            mask = class_indices(band)
            if valid is not None:
                mask[~valid] = VOID
            foreground = (mask >= int(self.has_background)) & (mask != VOID)
            renderings[_COLOUR] = paint(mask, self.colours)
            painted = overlay_classes(image, mask, None, self.colours, background=self.has_background)
        else:
            foreground = levels[0] > self.level
            mask = foreground.astype(np.uint8) * np.uint8(255)
            painted = overlay(image, foreground, None)
        cutout = np.dstack([image, foreground.astype(np.uint8) * np.uint8(255)])
        return {**renderings, "mask": mask, "overlay": painted, "cutout": cutout}


def _display_limits(pixels: Pixels) -> tuple[float, float]:
    """Return the limits for `for_display` of an image that is shown as RGB, without its alpha channel."""
    colours = pixels if pixels.ndim == 2 else pixels[:, :, : 1 if pixels.shape[2] < 3 else 3]
    return display_limits(colours, 3 if colours.ndim == 2 or colours.shape[2] == 1 else 1)


def _usable_files(files: Sequence[ImageFile], network: Predictor, skip: bool) -> tuple[list[ImageFile], _Kept, bool]:
    """Decode every file, before any is predicted.

    Returns
    -------
    list of ImageFile
        Files that can be used.
    dict of ImageFile to LoadedImage
        Decoded images, as many as `_KEPT_BYTES` allows; none if one is large.
    bool
        Whether one is large.
    """
    preparation = network.info.preparation
    comparison = Comparison(preparation.normalize.method, network.info.image_values)
    kept: _Kept = {}
    lock, free_bytes = Lock(), _KEPT_BYTES

    def problems_of(file: ImageFile) -> tuple[Problem, ...]:
        try:
            loaded = load_image(file, network)
        except PipelineError as error:
            return tuple(_for_own_image(problem) for problem in error.problems)
        comparison.add(loaded.image)
        nonlocal free_bytes
        with lock:
            if not large and loaded.nbytes <= free_bytes:
                kept[file] = loaded
                free_bytes -= loaded.nbytes
        return ()

    large = any(_header_pixels(file.path) > LARGE for file in files)
    results = thread_map(problems_of, files, 1 if large else 2)
    problems_of_file = dict(zip(files, progress_bar(results, "reading images", len(files)), strict=True))
    usable = [file for file in files if not problems_of_file[file]]
    problems = [problem for file_problems in problems_of_file.values() for problem in file_problems]
    if problems and (not skip or not usable):
        raise RawDataError(problems)
    for problem in problems:
        log(f"skipped: {problem}")
    for warning in comparison.warnings(len(usable)):
        log(f"warning: {warning}")
    return usable, kept, large


def _for_own_image(problem: Problem) -> Problem:
    """Replace a remedy that changes the settings of a data set: the image belongs to none."""
    if "`pages: samples`" in problem.remedy:
        return replace(problem, remedy="save each page as a separate file")
    if "`nodata: ignore`" in problem.remedy:
        remedy = "give these pixels values, or predict with a network that was trained with `nodata: ignore`"
        return replace(problem, remedy=remedy)
    return problem


def _header_pixels(path: Path) -> int:
    """Return the pixels of an image according to its header; at least the bytes of a file that Pillow cannot open."""
    try:
        with Image.open(path) as image:
            return image.width * image.height
    except Exception:  # `decode` reports files that cannot be used
        return path.stat().st_size if path.exists() else 0


def load_image(file: ImageFile, network: Predictor) -> LoadedImage:
    """Decode an image, and prepare it in the same way as shards."""
    preparation = network.info.preparation
    started = time.perf_counter()
    with memory_errors(str(file.path), network.memory_remedy()):
        decoded, valid, _ = read_file(file.path, options=preparation)
        pixels = as_channels(decoded, preparation.channels, file.path)
        height, width = preparation.fixed_size or pixels.shape[:2]
        if min(height, width) < SMALLEST:
            raise RawDataError(
                str(file.path),
                f"{width}x{height} pixels (width x height)",
                f"{SMALLEST} pixels or more on each side",
                "enlarge the image, or leave it out with --skip-unreadable",
            )
        if problem := network.size_problem(str(file.path), (height, width)):
            raise RawDataError(problem)
        resized = resize_image(pixels, height, width, preparation.interpolation)
        try:
            scale, offset = normalization(resized, preparation.normalize)
            extremes = np.stack([resized.min(axis=(0, 1)), resized.max(axis=(0, 1))])[None]
            encode(extremes, scale, offset, "float32")
        except ValueError as error:
            expected = "an image of the same kind as the training images"
            raise RawDataError(str(file.path), str(error), expected, "convert the image") from error
        image = NormalizedImage(str(file.path), np.moveaxis(resized, -1, 0), scale, offset)
        return LoadedImage(decoded, valid, image, time.perf_counter() - started)


def require_replaceable(output: Path, source: Path) -> None:
    """Refuse an output folder that contains other files, because the whole folder is replaced."""
    if not exists(output):
        return
    names = {*names_in(output)} if is_folder(output) else {output.name}
    if real_path(output) in (real_path(source), *real_path(source).parents):
        conflict = "the folder that contains the input images"
    elif names and not (_TIMING in names and names <= {"probability", *_CHANNELS, _TIMING, _LEGEND}):
        conflict = f"files that `predict` did not write: {', '.join(sorted(names)[:5])}"
    else:
        return
    expected = "a new or empty folder, or one that `predict` wrote, because the whole folder is replaced"
    raise OutputError(str(output), conflict, expected, "choose another folder with --output")
