"""Pixel counts of every image of a split by region, from which all scores and thresholds are computed."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.counts import VOID, joint_histogram
from pipeline.core.errors import PipelineError, PredictionError, Problem, RawDataError
from pipeline.core.progress import progress_bar
from pipeline.evaluation.classes import confusion_matrix, read_classes, require_class_indices
from pipeline.evaluation.contours import contour_scores
from pipeline.images.foreign import require_levels
from pipeline.images.png import read_levels
from pipeline.raw.dataset import RawDataset, require_samples, size_problem

FOV, FULL = "fov", "full"
"""Region names: inside the field of view, and the full image."""


@dataclass(frozen=True)
class SplitCounts:
    """Counts of the images of one split. Ignored pixels (`VOID` in the mask) are in no region.

    Parameters
    ----------
    ids : list of str
    regions : dict of str to (N, ...) array of int64
        ``full``, and ``fov`` if all samples have a field of view. Joint histograms (N, 2, 256) for two classes,
        confusion matrices (N, K, K) for several classes.
    contours : dict of str to (N, ..., 2) array of float64
        Values of `contour_scores` by the same regions: (N, 2) for two classes, empty without a threshold; (N, K, 2) for
        several classes.
    distances : dict of str to (N,) array of float64
        Sums over the pixels of the same regions of the absolute difference between level and soft mask; empty unless
        masks are soft.
    """

    ids: list[str]
    regions: dict[str, NDArray[np.int64]]
    contours: dict[str, NDArray[np.float64]]
    distances: dict[str, NDArray[np.float64]]

    @property
    def main_region(self) -> str:
        """The region in which thresholds are chosen: the field of view if all samples have one."""
        return FOV if FOV in self.regions else FULL


def count_split(
    raw: RawDataset, split: str, predictions: Path, experiment: str, level: int | None = None
) -> SplitCounts:
    """Count the pixels of predictions and masks of one split, at native size.

    Parameters
    ----------
    raw : RawDataset
    split : str
        A split of labelled samples.
    predictions : Path
        Folder of ``<id>.png``: probabilities, or class indices of several classes.
    experiment : str
        For the progress display.
    level : int, optional
        For two classes: levels above it are foreground. With it, contours are measured too.

    Raises
    ------
    RawDataError
        If the split has no samples.
    PredictionError
        Lists every mask and prediction that cannot be used.
    """
    samples = require_samples(raw, split)
    ids = [sample.id for sample in samples]
    if raw.multiclass:
        require_class_indices(predictions, ids, raw)
    else:
        require_levels(predictions, ids)
    problems: list[Problem] = []
    read = partial(read_classes, classes=raw.classes) if raw.multiclass else read_levels
    with_fov = all(sample.fov is not None for sample in samples)
    names = (FULL, FOV) if with_fov else (FULL,)
    counts_by_region: dict[str, list[NDArray[np.int64]]] = {name: [] for name in names}
    contours_by_region: dict[str, list[NDArray[np.float64]]] = {name: [] for name in names}
    distances_by_region: dict[str, list[float]] = {name: [] for name in names if raw.mask_kind == "soft"}
    for sample in progress_bar(samples, f"{experiment}: {split} samples", len(samples)):
        try:
            stored = raw.read_mask(sample)
            truth = raw.ignore_gaps(raw.as_classes(stored), raw.read_valid(sample))
            height, width = truth.shape
            fov = raw.read_fov(sample) if with_fov else None
            mismatch = size_problem(sample, sample.fov or "", fov, (height, width))
            if mismatch is not None:
                raise RawDataError(mismatch)
            predicted = read(predictions / f"{sample.id}.png", height, width)
        except PipelineError as error:
            problems += error.problems
            continue
        valid = truth != VOID
        region_masks = {FULL: None if valid.all() else valid, **({} if fov is None else {FOV: valid & (fov == 1)})}
        for name, region in region_masks.items():
            if raw.multiclass:
                indices = range(len(raw.classes))
                counts_by_region[name].append(confusion_matrix(predicted, truth, len(indices), region))
                by_class = [contour_scores(predicted == index, truth == index, region) for index in indices]
                contours_by_region[name].append(np.stack(by_class))
            else:
                counts_by_region[name].append(joint_histogram(predicted, truth, region))
                if name in distances_by_region:
                    valid_pixels = None if region is None else region.astype(np.uint8)
                    distances_by_region[name].append(cv2.norm(predicted, stored, cv2.NORM_L1, valid_pixels))
                if level is not None:
                    contours_by_region[name].append(contour_scores(predicted > level, truth == 1, region))
    if problems:
        raise PredictionError(problems)
    return SplitCounts(
        ids=ids,
        regions={name: np.stack(counts) for name, counts in counts_by_region.items()},
        contours={name: np.array(values) for name, values in contours_by_region.items()},
        distances={name: np.array(values) for name, values in distances_by_region.items()},
    )


def count_splits(
    raw: RawDataset, predictions: Mapping[str, Path], experiment: str, level: int | None = None
) -> list[tuple[str, SplitCounts]]:
    """Count the pixels of several splits, in the order of their names; see `count_split`.

    Raises
    ------
    PredictionError
        Lists the problems of all splits.
    """
    splits: list[tuple[str, SplitCounts]] = []
    problems: list[Problem] = []
    for split, folder in sorted(predictions.items()):
        try:
            splits.append((split, count_split(raw, split, folder, experiment, level)))
        except PipelineError as error:
            problems += error.problems
    if problems:
        raise PredictionError(problems)
    return splits
