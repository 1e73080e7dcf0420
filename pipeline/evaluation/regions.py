"""Pixel counts of every image of a split by region, from which all scores and thresholds are computed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.counts import LEVELS, VOID, joint_histogram
from pipeline.core.errors import PipelineError, PredictionError, Problem, RawDataError
from pipeline.core.fine_levels import FINE_LEVELS, as_levels, rank_histogram
from pipeline.core.parallel import thread_map
from pipeline.core.progress import progress_bar
from pipeline.evaluation.classes import confusion_matrix, read_classes, require_class_indices
from pipeline.evaluation.contours import contour_scores
from pipeline.images.foreign import require_levels
from pipeline.images.png import read_probability
from pipeline.raw.dataset import RawDataset, require_samples, size_problem
from pipeline.raw.samples import Sample

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
    ranks : dict of str to (N, 2, R) array of int64
        Joint histograms for areas under curves, by the same regions: those of `regions`, or with 16 bits of
        `rank_histogram`.
    levels : int, optional
        Number of levels of a stored probability; None with several classes.
    contours : dict of str to (N, ..., 2) array of float64
        Values of `contour_scores` by the same regions: (N, 2) for two classes, empty without a threshold; (N, K, 2) for
        several classes.
    distances : dict of str to (N,) array of float64
        Sums over the pixels of the same regions of the absolute difference between level and soft mask; empty unless
        masks are soft.
    """

    ids: list[str]
    regions: dict[str, NDArray[np.int64]]
    ranks: dict[str, NDArray[np.int64]]
    levels: int | None
    contours: dict[str, NDArray[np.float64]]
    distances: dict[str, NDArray[np.float64]]

    @property
    def main_region(self) -> str:
        """The region in which thresholds are chosen: the field of view if all samples have one."""
        return FOV if FOV in self.regions else FULL


class _ImageCounts(NamedTuple):
    """Counts of one image by region; see `SplitCounts`."""

    counts: dict[str, NDArray[np.int64]]
    ranks: dict[str, NDArray[np.int64]]
    levels: int | None
    contours: dict[str, NDArray[np.float64]]
    distances: dict[str, float]


def count_split(
    raw: RawDataset, split: str, predictions: Path, experiment: str, level: int | None = None, threads: int = 1
) -> SplitCounts:
    """Count the pixels of predictions and masks of one split, at native size; each file is read once.

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
    threads : int
        Images that are counted at a time.

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
    with_fov = all(sample.fov is not None for sample in samples)

    def count(sample: Sample) -> _ImageCounts | tuple[Problem, ...]:
        try:
            return _count_image(raw, sample, predictions / f"{sample.id}.png", with_fov, level)
        except PipelineError as error:
            return error.problems

    results = list(progress_bar(thread_map(count, samples, threads), f"{experiment}: {split} samples", len(samples)))
    images = [result for result in results if isinstance(result, _ImageCounts)]
    if len(images) < len(results):
        raise PredictionError(
            problem for result in results if not isinstance(result, _ImageCounts) for problem in result
        )
    _require_equal_levels(predictions, ids, [image.levels for image in images])
    regions = {name: np.stack([image.counts[name] for image in images]) for name in images[0].counts}
    ranks = {name: np.stack([image.ranks[name] for image in images]) for name in images[0].ranks}
    return SplitCounts(
        ids=ids,
        regions=regions,
        ranks=ranks or regions,
        levels=images[0].levels,
        contours={
            name: np.array([image.contours[name] for image in images if name in image.contours])
            for name in images[0].counts
        },
        distances={name: np.array([image.distances[name] for image in images]) for name in images[0].distances},
    )


def _count_image(raw: RawDataset, sample: Sample, prediction: Path, with_fov: bool, level: int | None) -> _ImageCounts:
    """Read the mask, the field of view and the prediction of an image, and count its pixels in each region."""
    stored = raw.read_mask(sample)
    truth = raw.ignore_gaps(raw.as_classes(stored), raw.read_valid(sample))
    height, width = truth.shape
    fov = raw.read_fov(sample) if with_fov else None
    mismatch = size_problem(sample, sample.fov or "", fov, (height, width))
    if mismatch is not None:
        raise RawDataError(mismatch)
    classes, levels = range(len(raw.classes)), None
    if raw.multiclass:
        predicted = read_classes(prediction, height, width, raw.classes)
    else:
        probability = read_probability(prediction, height, width)
        predicted, levels = as_levels(probability), FINE_LEVELS if probability.dtype == np.uint16 else LEVELS
    image = _ImageCounts({}, {}, levels, {}, {})
    valid = truth != VOID
    region_masks = {FULL: None if valid.all() else valid, **({} if fov is None else {FOV: valid & (fov == 1)})}
    for name, region in region_masks.items():
        if raw.multiclass:
            image.counts[name] = confusion_matrix(predicted, truth, len(classes), region)
            by_class = [contour_scores(predicted == index, truth == index, region) for index in classes]
            image.contours[name] = np.stack(by_class)
            continue
        image.counts[name] = joint_histogram(predicted, truth, region)
        if probability.dtype == np.uint16:
            image.ranks[name] = rank_histogram(probability, truth, region)
        if raw.mask_kind == "soft":
            valid_pixels = None if region is None else region.astype(np.uint8)
            image.distances[name] = cv2.norm(predicted, stored, cv2.NORM_L1, valid_pixels)
        if level is not None:
            image.contours[name] = contour_scores(predicted > level, truth == 1, region)
    return image


def _require_equal_levels(predictions: Path, ids: Sequence[str], levels: Sequence[int | None]) -> None:
    """Refuse a folder of images with 8 and with 16 bits, listing those of the smaller number."""
    fine = {name for name, count in zip(ids, levels, strict=True) if count == FINE_LEVELS}
    if 0 < len(fine) < len(ids):
        fewer, bits, others = (fine, 16, 8) if 2 * len(fine) <= len(ids) else ({*ids} - fine, 8, 16)
        files = [str(predictions / f"{name}.png") for name in sorted(fewer)]
        remedy = f"save it with {others} bits too"
        raise PredictionError(
            [Problem(file, f"{bits} bits", f"{others} bits, as the other images", remedy) for file in files]
        )


def count_splits(
    raw: RawDataset, predictions: Mapping[str, Path], experiment: str, level: int | None = None, threads: int = 1
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
            splits.append((split, count_split(raw, split, folder, experiment, level, threads)))
        except PipelineError as error:
            problems += error.problems
    if problems:
        raise PredictionError(problems)
    return splits
