"""Several classes: confusion matrices of images and regions, and the counts and scores computed from them."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.counts import VOID, Confusion
from pipeline.core.errors import PipelineError, PredictionError, plural
from pipeline.core.manifest import find
from pipeline.core.progress import log
from pipeline.images.png import read_grey, read_levels, require_folder
from pipeline.raw.dataset import RawDataset

ConfusionMatrix = NDArray[np.int64]

_MAX_CLASSES_LISTED = 20


def confusion_matrix(
    predicted: NDArray[np.uint8], truth: NDArray[np.uint8], classes: int, region: NDArray[np.bool_] | None = None
) -> ConfusionMatrix:
    """Count pixels by true and predicted class.

    Parameters
    ----------
    predicted, truth : (H, W) array of uint8
        Class indices below `classes`, at least for the pixels that count.
    classes : int
        K, at most 255.
    region : (H, W) array of bool, optional
        Pixels that count; all pixels by default.

    Returns
    -------
    (K, K) array of int64
        ``[t, p]`` is the number of pixels of true class t that are predicted as class p.
    """
    if region is not None:
        predicted, truth = predicted[region], truth[region]
    pairs = truth.astype(np.uint16).ravel() * np.uint16(classes) + predicted.ravel()
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes).astype(np.int64)


def one_vs_rest(matrix: ConfusionMatrix) -> Confusion:
    """Return the counts of each class against all others, (..., K) arrays, from (..., K, K) confusion matrices."""
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    true, predicted = matrix.sum(axis=-1), matrix.sum(axis=-2)
    total = matrix.sum(axis=(-2, -1))[..., None]
    return Confusion(tp=hits, fp=predicted - hits, fn=true - hits, tn=total - true - predicted + hits)


def pixel_accuracy(matrix: ConfusionMatrix) -> NDArray[np.float64]:
    """Return the fraction of correctly classified pixels of (..., K, K) confusion matrices; NaN without pixels."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.trace(matrix, axis1=-2, axis2=-1) / matrix.sum(axis=(-2, -1)))


def read_classes(path: Path, height: int, width: int, classes: Sequence[str]) -> NDArray[np.uint8]:
    """Read an image of predicted class indices.

    Parameters
    ----------
    path : Path
        8-bit grey PNG of class indices.
    height, width : int
        Size of the raw image.
    classes : sequence of str
        Names of the classes.

    Returns
    -------
    (height, width) array of uint8

    Raises
    ------
    PredictionError
        If the image is missing, damaged, of another type or size, or contains an index of no class.
    """
    indices = read_levels(path, height, width)
    counts = np.bincount(indices.ravel(), minlength=256)
    unknown_indices = [index for index in np.flatnonzero(counts).tolist() if index >= len(classes)]
    if unknown_indices:
        listed = ", ".join(f"{index} ({plural(counts[index], 'pixel')})" for index in unknown_indices[:8])
        more = f" and {len(unknown_indices) - 8} more" if len(unknown_indices) > 8 else ""
        remedy = "write class indices (argmax), neither colours nor 255; or predict with a network of this data set"
        raise PredictionError(
            str(path), f"class indices {listed}{more}", f"only 0 to {len(classes) - 1}: {', '.join(classes)}", remedy
        )
    return indices


def require_class_indices(folder: Path, ids: Iterable[str], raw: RawDataset) -> None:
    """Check that a folder of predictions of several classes does not contain mask values in place of class indices.

    Where the grey value of a class in masks differs from its index, log the index of each class.

    Parameters
    ----------
    folder : Path
        Folder of ``<id>.png``. One that the pipeline wrote is not read.
    ids : iterable of str
        Identifiers of the samples. Files that cannot be read are skipped; who uses them reports them.
    raw : RawDataset

    Raises
    ------
    PredictionError
        If the folder is a file, or any image contains a value that is no class index, but stands for a class or for
        ignored pixels in masks.
    """
    require_folder(folder)
    grey_values = {value: index for value, index in raw.labels.label_map.meaning.items() if isinstance(value, int)}
    if find(folder) is not None or all(index in (value, VOID) for value, index in grey_values.items()):
        return
    listed = [f"{index} {name}" for index, name in enumerate(raw.classes)][:_MAX_CLASSES_LISTED]
    more = f" and {len(raw.classes) - len(listed)} more" if len(raw.classes) > len(listed) else ""
    meaning = f"{', '.join(listed)}{more}, in the order of `labels`"
    log(f"{folder}: values are read as class indices, not as mask values: {meaning}")
    pixels = np.zeros(256, dtype=np.int64)
    for name in ids:
        try:
            pixels += np.bincount(read_grey(folder / f"{name}.png").ravel(), minlength=256)
        except PipelineError:
            continue
    values = [value for value in np.flatnonzero(pixels).tolist() if value >= len(raw.classes)]
    if any(value in grey_values for value in values):
        known = ", ".join(str(value) for value in values if value in grey_values)
        remedy = "save the index of the class in place of its mask value, and any class where masks ignore pixels"
        raise PredictionError(
            str(folder), f"mask values that are no class index: {known}", f"indices {meaning}", remedy
        )
