"""Several classes: confusion matrices of images and regions, and the counts and scores computed from them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.counts import Confusion
from pipeline.core.errors import PredictionError, plural
from pipeline.images.png import read_levels

ConfusionMatrix = NDArray[np.int64]


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
