"""Predict the samples of shards: an image of probabilities or class indices for each, at its native size."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.core.counts import to_levels
from pipeline.core.errors import CheckpointError, ConfigError, ShardError
from pipeline.core.files import atomic_folder
from pipeline.core.parallel import thread_map
from pipeline.core.progress import log, progress_bar
from pipeline.images.png import write_png
from pipeline.prediction.network import Predictor, load_predictor
from pipeline.prediction.recipes import PredictRecipe
from pipeline.prediction.tiles import PIXELS_AT_ONCE
from pipeline.shards.prepare import resize_image, resize_mask
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
    log(f"{experiment}: {len(reader)} samples on {network.runs_on}")

    def write(prediction: tuple[int, NDArray[np.float32]]) -> None:
        row, native = prediction
        if recipe.kind == "mask":
            write_png(folder / f"{ids[row]}.png", class_indices(native))
        else:
            write_probability(folder, ids[row], native, network.classes)

    with atomic_folder(output) as folder:
        for _ in thread_map(write, _predictions(network, reader, experiment), threads=2):
            pass


def _predictions(network: Predictor, reader: ShardReader, experiment: str) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield the row of each sample in the shards, and its probabilities (K, H, W) at native size."""
    sizes = reader.column("original_size").tolist()
    scale, offset = (reader.column(name)[:, :, None, None] for name in ("scale", "offset"))
    # a network that was trained inside the field of view has not learnt about pixels outside it
    inside_only = network.inside_only and reader.has_fov and not network.multiclass
    height, width = reader.info.size
    batch = max(1, PIXELS_AT_ONCE // (height * width))
    starts = range(0, len(reader), batch)
    for start in progress_bar(starts, f"{experiment}: batches of {batch}", len(starts)):
        rows = range(start, min(start + batch, len(reader)))
        stored = np.stack([reader.read_array("images", row) for row in rows]).astype(np.float32)
        image = torch.from_numpy(stored * scale[rows.start : rows.stop] + offset[rows.start : rows.stop])
        for row, planes in zip(rows, network(image).numpy(), strict=True):
            native = resize_planes(planes, *sizes[row])
            if inside_only:
                native = native * resize_mask(reader.read_array("fov", row)[0], *sizes[row])
            yield row, native


def resize_planes(planes: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Resize (K, H, W) probabilities to (K, height, width) with `resize_image`."""
    return np.stack([resize_image(plane, height, width) for plane in planes])


def class_indices(probability: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the index of the most probable of (K, H, W) classes as (H, W) uint8; the lowest index of equal ones."""
    return np.asarray(probability.argmax(axis=0).astype(np.uint8))


def write_probability(folder: Path, name: str, probability: NDArray[np.float32], classes: Sequence[str]) -> None:
    """Write levels: (1, H, W) as ``<name>.png``, or (K, H, W) as one ``<class>/<name>.png`` for each class."""
    if len(probability) == 1:
        write_png(folder / f"{name}.png", to_levels(probability[0]))
        return
    for class_name, plane in zip(classes, probability, strict=True):
        class_folder = folder / class_name.replace("/", "-")
        class_folder.mkdir(exist_ok=True)
        write_png(class_folder / f"{name}.png", to_levels(plane))


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
            "pass each shard once; delete shards of unknown origin and run snakemake again",
        )
    return ids
