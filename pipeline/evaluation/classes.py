"""Several classes: one joint confusion matrix of each image and region, and the scores that follow from it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.counts import Confusion
from pipeline.core.errors import PredictionError
from pipeline.images.png import read_levels

Joint = NDArray[np.int64]


def joint_confusion(
    predicted: NDArray[np.uint8], truth: NDArray[np.uint8], classes: int, region: NDArray[np.bool_] | None = None
) -> Joint:
    """Count pixels by true and predicted class.

    Parameters
    ----------
    predicted, truth : (H, W) array of uint8
        Class indices below `classes`, at least where pixels count.
    classes : int
        K, at most 255.
    region : (H, W) array of bool, optional
        Pixels that count; all of them without it.

    Returns
    -------
    (K, K) array of int64
        ``[t, p]`` is the number of pixels of true class t that were called p.
    """
    if region is not None:
        predicted, truth = predicted[region], truth[region]
    joint = truth.astype(np.uint16).ravel() * np.uint16(classes) + predicted.ravel()
    return np.bincount(joint, minlength=classes * classes).reshape(classes, classes).astype(np.int64)


def one_against_rest(joint: Joint) -> Confusion:
    """Return the counts of each class against all others, (..., K) arrays, of (..., K, K) confusion matrices."""
    hits = np.diagonal(joint, axis1=-2, axis2=-1)
    true, predicted = joint.sum(axis=-1), joint.sum(axis=-2)
    total = joint.sum(axis=(-2, -1))[..., None]
    return Confusion(tp=hits, fp=predicted - hits, fn=true - hits, tn=total - true - predicted + hits)


def pixel_accuracy(joint: Joint) -> NDArray[np.float64]:
    """Return the share of pixels that got their true class, over a (..., K, K) matrix; NaN where there is no pixel."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.trace(joint, axis1=-2, axis2=-1) / joint.sum(axis=(-2, -1)))


def read_classes(path: Path, height: int, width: int, classes: Sequence[str]) -> NDArray[np.uint8]:
    """Read predicted classes.

    Parameters
    ----------
    path : Path
        8-bit grey PNG of class indices.
    height, width : int
        The size that the raw image has.
    classes : sequence of str
        Their names.

    Returns
    -------
    (height, width) array of uint8

    Raises
    ------
    PredictionError
        If it is missing, damaged, of another type or size, or holds an index that no class has.
    """
    indices = read_levels(path, height, width)
    counts = np.bincount(indices.ravel(), minlength=256)
    unknown = [index for index in np.flatnonzero(counts).tolist() if index >= len(classes)]
    if unknown:
        listed = ", ".join(f"{index} ({counts[index]} pixels)" for index in unknown[:8])
        found = f"class indices {listed}{f' and {len(unknown) - 8} more' if len(unknown) > 8 else ''}"
        remedy = "write class indices (argmax), neither colours nor 255; or predict with a network of this data set"
        raise PredictionError(str(path), found, f"only 0 to {len(classes) - 1}: {', '.join(classes)}", remedy)
    return indices
