"""Predict the samples of shards: an image of probabilities or class indices for each, at its native size."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.core.counts import to_levels
from pipeline.core.errors import CheckpointError, ConfigError, ShardError, plural
from pipeline.core.files import atomic_folder
from pipeline.core.parallel import thread_map
from pipeline.core.progress import log, progress_bar
from pipeline.images.png import PngWriter
from pipeline.prediction.alike import unlike_extremes
from pipeline.prediction.bands import LARGE, Band, ProbabilityWriter, class_indices, native_bands
from pipeline.prediction.memory import memory_errors
from pipeline.prediction.network import Predictor, load_predictor
from pipeline.prediction.normalized import NormalizedImage
from pipeline.prediction.recipes import PredictRecipe
from pipeline.prediction.tiles import PIXELS_AT_ONCE
from pipeline.shards.masks import resize_mask
from pipeline.shards.read import ShardReader
from pipeline.training.samples import choose_samples


def predict(
    recipe: PredictRecipe,
    *,
    experiment: str,
    checkpoint: Path,
    shards: Sequence[Path],
    output: Path,
    train_shards: Sequence[Path] = (),
    folds: Path | None = None,
) -> None:
    """Predict every sample of the shards.

    Parameters
    ----------
    recipe : PredictRecipe
    experiment : str
        Name of the experiment, for messages.
    checkpoint : Path
        Checkpoint file that `pipeline.training.run.train` wrote.
    shards : sequence of Path
        All shards of one split; for a fold, those of the validation samples.
    output : Path
        Folder of ``<id>.png``: 8-bit grey, as large as the raw image. It is created when all images are complete.
        With two classes and a training loss that counted only the inside of the field of view, probabilities are 0
        outside the field of view of the shard.
    train_shards, folds
        Only for a fold, which has samples in these shards too: see `choose_samples`.

    Raises
    ------
    CheckpointError, ConfigError, PredictionError, RawDataError, ShardError, TrainingError, OutputError
    """
    precision, threads, tiles, test_time = recipe.precision, recipe.threads, recipe.tiles, recipe.test_time
    network = load_predictor(checkpoint, precision=precision, threads=threads, tiles=tiles, test_time=test_time)
    _, samples = choose_samples(train_shards, shards, recipe.fold, folds)
    reader = ShardReader(*samples)
    _require_fit(network, reader, checkpoint, samples.shards[0])
    if recipe.kind == "mask" and not network.multiclass:
        raise ConfigError(
            "--kind",
            f"{recipe.kind!r} for a network with two classes ({', '.join(network.classes)}), {checkpoint}",
            "'probability', or 'mask' with more than two classes",
            "use `--kind probability`, then `python -m pipeline render`",
        )
    ids = _file_names(reader, samples.shards)
    log(f"{experiment}: {plural(len(reader), 'sample')} on {network.runs_on}")
    trained = network.info.image_values
    if trained is not None and (different := unlike_extremes(reader.image_values(), trained)):
        log(f"warning: {recipe.split} samples that are not like the training images: {different}")

    def write(prediction: _Prediction) -> None:
        row, size, bands = prediction
        with ExitStack() as files:
            if recipe.kind == "mask":
                mask = files.enter_context(PngWriter(folder / f"{ids[row]}.png", *size, 1))
                for band in bands:
                    mask.write(class_indices(band))
                return
            probability = ProbabilityWriter(files, folder, ids[row], size, network.classes)
            for band in bands:
                probability.write(to_levels(band))

    native_sizes = reader.column("original_size")
    large = max(np.prod(reader.info.size), *native_sizes.prod(axis=1)) > LARGE
    with (
        atomic_folder(output) as folder,
        memory_errors(f"{experiment}, {recipe.split} samples", network.memory_remedy()),
    ):
        for _ in thread_map(write, _predictions(network, reader, ids, experiment, large), 1 if large else 2):
            pass


class _Prediction(NamedTuple):
    """The row of a sample in the shards, its native size, and its probabilities at this size."""

    row: int
    size: tuple[int, int]
    bands: Iterable[Band]


class _Columns(NamedTuple):
    """What the shards hold of each sample besides its arrays; see `pipeline.shards.prepare.PreparedSample`."""

    native_sizes: NDArray[np.int32]
    scale: NDArray[np.float32]
    offset: NDArray[np.float32]


def _predictions(
    network: Predictor, reader: ShardReader, ids: Sequence[str], experiment: str, large: bool
) -> Iterator[_Prediction]:
    """Predict the samples in batches."""
    height, width = reader.info.size
    columns = _Columns(*(reader.column(name) for name in ("original_size", "scale", "offset")))
    batch = max(1, PIXELS_AT_ONCE // (height * width))
    starts = range(0, len(reader), batch)
    for start in progress_bar(starts, f"{experiment}: batches of {batch}", len(starts)):
        yield from _predict_batch(network, reader, ids, columns, range(start, min(start + batch, len(reader))), large)


def _predict_batch(
    network: Predictor, reader: ShardReader, ids: Sequence[str], columns: _Columns, rows: range, large: bool
) -> Iterator[_Prediction]:
    """Predict some samples at once; large ones while their bands are read."""
    native_sizes, scale, offset = columns
    # a network that was trained inside the field of view has not learnt about pixels outside it
    inside_only = network.inside_only and reader.has_fov and not network.multiclass
    images = [NormalizedImage(ids[row], reader.read_array("images", row), scale[row], offset[row]) for row in rows]
    for index, group in groupby(network.predict(images), key=itemgetter(0)):
        row, bands = rows[index], (band for _, band in group)
        size = height, width = int(native_sizes[row, 0]), int(native_sizes[row, 1])
        native = native_bands(bands if large else list(bands), reader.info.size, size)
        if inside_only:
            fov = reader.read_array("fov", row)[0]
            native = _inside(native, resize_mask(fov, height, width, reader.info.preparation.mask_resize))
        yield _Prediction(row, size, native)


def _inside(bands: Iterable[Band], fov: NDArray[np.uint8]) -> Iterator[Band]:
    """Set probabilities outside a field of view (H, W) to 0."""
    top = 0
    for band in bands:
        yield band * fov[top : top + band.shape[1]]
        top += band.shape[1]


def _require_fit(network: Predictor, reader: ShardReader, checkpoint: Path, shard: Path) -> None:
    """Refuse shards whose channels or normalization differ from those of the training."""
    channels, normalization = network.info.in_channels, network.info.preparation.normalize.plain()
    if reader.info.channels != channels:
        mismatch = f"a network for {channels} channels, while {shard} has {reader.info.channels}"
    elif reader.info.normalization != normalization:
        mismatch = f"a network for the normalization {normalization}, while {shard} has {reader.info.normalization}"
    else:
        return
    remedy = "train again, or pass shards of the data set that the checkpoint was trained on"
    raise CheckpointError(str(checkpoint), mismatch, "checkpoint and shards of the same data set", remedy)


def _file_names(reader: ShardReader, shards: Sequence[Path]) -> list[str]:
    """Return the identifiers of the samples; refuse duplicates, and those that are not file names."""
    ids = [str(name) for name in reader.column("ids")]
    invalid_ids = [name for name in ids if "/" in name or "\0" in name]
    invalid_ids += [name for name, count in Counter(ids).items() if count > 1]
    if invalid_ids:
        raise ShardError(
            ", ".join(map(str, shards)),
            f"the identifiers {', '.join(map(repr, invalid_ids[:8]))}",
            "a unique identifier without '/' for each sample",
            "pass each shard of the split once, and no other",
        )
    return ids
