"""Render a preview of augmented training samples."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.core.errors import TrainingError
from pipeline.core.files import atomic_file
from pipeline.images.png import write_png
from pipeline.raw.decode.palette import Colour, class_colours
from pipeline.training.augment.augmentation import Augmentation, crop_problems
from pipeline.training.data import Batch, SampleStore
from pipeline.training.recipes import AugmentedRecipe
from pipeline.training.samples import choose_samples
from pipeline.training.seeds import derive_seed

RgbImage = NDArray[np.uint8]

_SAMPLES = 6  # rows of the preview
_COPIES = 4  # augmented copies beside each original sample
_TILE_HEIGHT = 192  # of one sample, in pixels; contours are rendered at this size
_GAP = 6
_CAPTION_HEIGHT = 26


def preview(
    recipe: AugmentedRecipe,
    *,
    experiment: str,
    train_shards: Sequence[Path],
    output: Path,
    validation_shards: Sequence[Path] = (),
    folds: Path | None = None,
) -> None:
    """Render some training samples with the contours of their masks, each as original and as four augmented copies.

    Parameters
    ----------
    recipe : AugmentedRecipe
        The augmentation has the settings of the training run, but other random numbers.
    experiment : str
    train_shards : sequence of Path
    output : Path
        PNG file.
    validation_shards, folds
        Required for a fold, whose training samples are also in these shards; see `choose_samples`.

    Raises
    ------
    ShardError, RawDataError, TrainingError, OutputError
    """
    training, _ = choose_samples(train_shards, validation_shards, recipe.fold, folds)
    data = SampleStore(training.shards, torch.device("cpu"), budget=0, selection=training.selection)
    if problems := crop_problems(experiment, recipe.crop, data.info.size):
        raise TrainingError(problems)
    augment = Augmentation(recipe.crop, recipe.augment)
    rng = torch.Generator().manual_seed(derive_seed(recipe.seed, "preview"))
    order = torch.randperm(len(data), generator=rng)[:_SAMPLES]
    has_background = recipe.background is None
    colours = class_colours(data.info.class_names, background=has_background)
    rows = []
    for batch in data.batches(order, 1):
        copies = Batch(
            image=batch.image.expand(_COPIES, -1, -1, -1),
            target=batch.target.expand(_COPIES, -1, -1, -1),
            weight=None if batch.weight is None else batch.weight.expand(_COPIES, -1, -1, -1),
        )
        augmented = augment(copies, rng, data.soft)
        first = int(has_background)
        tiles = [_tile(batch, 0, colours, first), *(_tile(augmented, n, colours, first) for n in range(_COPIES))]
        gap = np.full((_TILE_HEIGHT, _GAP, 3), 255, dtype=np.uint8)
        rows.append(np.hstack([part for tile in tiles for part in (tile, gap)][:-1]))
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, _GAP), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    caption = np.full((_CAPTION_HEIGHT, width, 3), 255, dtype=np.uint8)
    note = f" ({recipe.note})" if recipe.note else ""
    text = f"{experiment}: training samples, original (left) and augmented{note}"
    cv2.putText(caption, text, (4, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (30, 30, 30), 1, cv2.LINE_AA)
    with atomic_file(output) as temporary:
        write_png(temporary, np.vstack([caption, *padded]))


def _tile(batch: Batch, row: int, colours: Sequence[Colour], first: int) -> RgbImage:
    """Render one sample: contrast stretched, contours of the classes from `first` on, ignored pixels dimmed."""
    image = batch.image[row].numpy()
    low, high = float(image.min()), float(image.max())
    pixels = np.rint((image - low) / max(high - low, 1e-12) * 255).astype(np.uint8).transpose(1, 2, 0)
    pixels = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else np.ascontiguousarray(pixels)
    if batch.weight is not None:
        pixels[batch.weight[row, 0].numpy() == 0] //= 2
    width = max(1, round(pixels.shape[1] * _TILE_HEIGHT / pixels.shape[0]))
    tile = cv2.resize(pixels, (width, _TILE_HEIGHT), interpolation=cv2.INTER_AREA)
    target = batch.target[row, 0].numpy()
    classes = (target > 0.5).astype(np.uint8) if target.dtype.kind == "f" else target.astype(np.uint8)
    for label in range(first, int(classes.max()) + 1):
        plane = cv2.resize(
            (classes == label).astype(np.uint8), (width, _TILE_HEIGHT), interpolation=cv2.INTER_NEAREST_EXACT
        )
        contours, _ = cv2.findContours(plane, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(tile, contours, -1, colours[label], 1)
    return np.asarray(tile)
