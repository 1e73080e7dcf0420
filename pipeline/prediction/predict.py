"""Predict the samples of shards: an image of probabilities or class indices for each, at its native size."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import CheckpointError, ConfigError, ShardError, plural
from pipeline.core.files import atomic_folder
from pipeline.core.fine_levels import quantize
from pipeline.core.parallel import read_ahead, thread_map
from pipeline.core.progress import log, progress_bar
from pipeline.images.png import PngWriter
from pipeline.prediction.alike import unlike_extremes
from pipeline.prediction.bands import LARGE, ProbabilityWriter, class_indices, native_bands
from pipeline.prediction.memory import memory_errors
from pipeline.prediction.network import Batch, Predictor, Values, load_predictor
from pipeline.prediction.normalized import NormalizedImage
from pipeline.prediction.recipes import PredictRecipe
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
        Folder of ``<id>.png``: grey, as large as the raw image, 8 bits or those of `recipe`. It is created when all
        images are complete.
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
                    mask.write(band[0] if band.dtype == np.uint8 else class_indices(band))
                return
            probability = ProbabilityWriter(files, folder, ids[row], size, network.classes, recipe.probability_bits)
            for band in bands:
                probability.write(band if band.dtype == np.uint8 else quantize(band, recipe.probability_bits))

    probability_values: Values = "levels" if recipe.probability_bits == 8 else "probability"
    samples_to_predict = _Samples(network, reader, ids, "classes" if recipe.kind == "mask" else probability_values)
    with (
        atomic_folder(output) as folder,
        memory_errors(f"{experiment}, {recipe.split} samples", network.memory_remedy()),
    ):
        predictions = samples_to_predict.predictions(experiment)
        # even with one thread: the network would wait for the disk
        for _ in thread_map(write, predictions, 1 if samples_to_predict.large else max(2, threads)):
            pass


class _Prediction(NamedTuple):
    """The row of a sample in the shards, its native size, and its values at this size.

    The values are probabilities in float32; or in uint8 what is written, levels (K, h, W) or class indices (1, h, W).
    """

    row: int
    size: tuple[int, int]
    bands: Iterable[NDArray[Any]]


class _Sample(NamedTuple):
    """A sample to predict: its row, native size, image, and its field of view if pixels outside it are 0."""

    row: int
    native_size: tuple[int, int]
    image: NormalizedImage
    fov: NDArray[np.uint8] | None


class _Samples:
    """Reads the samples of shards and predicts them.

    Parameters
    ----------
    network : Predictor
    reader : ShardReader
    ids : sequence of str
    final : {'levels', 'classes', 'probability'}
        What the device computes where no output is resized: 8-bit levels or class indices, as they are written, or
        probabilities.
    """

    def __init__(self, network: Predictor, reader: ShardReader, ids: Sequence[str], final: Values) -> None:
        self._network, self._reader, self._ids, self._final = network, reader, ids, final
        self._native_sizes, self._scale, self._offset = (
            reader.column(name) for name in ("original_size", "scale", "offset")
        )
        self.large = bool(max(np.prod(reader.info.size), *self._native_sizes.prod(axis=1)) > LARGE)
        # a network that was trained inside the field of view has not learnt about pixels outside it
        self._inside_only = network.inside_only and reader.has_fov and not network.multiclass

    def predictions(self, experiment: str) -> Iterator[_Prediction]:
        """Predict all samples; the next ones are read while the network runs."""
        in_bands = self.large or self._network.tile_axes is not None
        predicted = self._in_bands() if in_bands else self._at_once()
        return progress_bar(predicted, f"{experiment}: samples", len(self._reader))

    def _groups(self) -> Iterator[list[_Sample]]:
        """Read the samples of each batch."""
        start = 0
        while start < len(self._reader):
            end = min(start + self._network.limit.batch(*self._reader.info.size), len(self._reader))
            yield [self._read(row) for row in range(start, end)]
            start = end

    def _read(self, row: int) -> _Sample:
        pixels = self._reader.read_array("images", row)
        image = NormalizedImage(self._ids[row], pixels, self._scale[row], self._offset[row])
        fov = self._reader.read_array("fov", row)[0] if self._inside_only else None
        return _Sample(row, (int(self._native_sizes[row, 0]), int(self._native_sizes[row, 1])), image, fov)

    def _at_once(self) -> Iterator[_Prediction]:
        """Predict each batch as a whole; where no output is resized, the device computes what is written."""

        def batch(group: list[_Sample]) -> Batch:
            unchanged = all(sample.native_size == self._reader.info.size for sample in group)
            images = [sample.image for sample in group]
            return self._network.batch(images, group, self._final if unchanged else "probability")

        for predicted, result in self._network.predict_batches(read_ahead(map(batch, self._groups()))):
            for sample, values in zip(predicted.owners, result.values, strict=True):
                yield self._at_native_size(sample, [values])

    def _in_bands(self) -> Iterator[_Prediction]:
        """Predict large samples while their bands are read, and tiles."""
        for group in self._groups() if self.large else read_ahead(self._groups()):
            predicted = self._network.predict([sample.image for sample in group])
            for index, indexed_bands in groupby(predicted, key=itemgetter(0)):
                bands = (band for _, band in indexed_bands)
                yield self._at_native_size(group[index], bands if self.large else list(bands))

    def _at_native_size(self, sample: _Sample, bands: Iterable[NDArray[Any]]) -> _Prediction:
        native = native_bands(bands, self._reader.info.size, sample.native_size)
        if sample.fov is not None:
            method = self._reader.info.preparation.mask_resize
            native = _inside(native, resize_mask(sample.fov, *sample.native_size, method))
        return _Prediction(sample.row, sample.native_size, native)


def _inside(bands: Iterable[NDArray[Any]], fov: NDArray[np.uint8]) -> Iterator[NDArray[Any]]:
    """Set probabilities or levels outside a field of view (H, W) to 0."""
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
