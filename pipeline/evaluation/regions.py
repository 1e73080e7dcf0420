"""Counts of every image of a split, by region: what all scores and thresholds are made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.counts import VOID, joint_histogram
from pipeline.core.errors import PipelineError, PredictionError, Problem, RawDataError
from pipeline.core.progress import progress_bar
from pipeline.evaluation.classes import joint_confusion, read_classes
from pipeline.evaluation.contours import contour_scores
from pipeline.images.png import read_levels
from pipeline.raw.dataset import RawDataset, require_samples, same_size

FOV, FULL = "fov", "full"
"""Region names: inside the field of view, and the full image."""


@dataclass(frozen=True)
class SplitCounts:
    """Counts of the images of one split. Pixels that are `VOID` in the mask count in no region.

    Parameters
    ----------
    ids : list of str
    regions : dict of str to (N, ...) array of int64
        ``full`` always, ``fov`` where all samples have a field of view. Joint histograms (N, 2, 256) of two classes,
        joint confusion matrices (N, K, K) of several.
    contours : dict of str to (N, ..., 2) array of float64
        By the same regions, what `contour_scores` gives: (N, 2) of two classes, empty where there is no threshold;
        (N, K, 2) of several.
    """

    ids: list[str]
    regions: dict[str, NDArray[np.int64]]
    contours: dict[str, NDArray[np.float64]]

    @property
    def main_region(self) -> str:
        """The region that thresholds are chosen in: the field of view where there is one."""
        return FOV if FOV in self.regions else FULL


def count_split(raw: RawDataset, split: str, predictions: Path, experiment: str, cut: int | None = None) -> SplitCounts:
    """Compare predictions with native masks, at native size.

    Parameters
    ----------
    raw : RawDataset
    split : str
        Of labelled samples.
    predictions : Path
        Folder of ``<id>.png``: probabilities, or the indices of several classes.
    experiment : str
        For the progress display.
    cut : int, optional
        Of two classes, the levels above it are foreground: contours are measured as well.

    Raises
    ------
    RawDataError
        If the split has no samples.
    PredictionError
        Listing every mask and prediction that cannot be used.
    """
    samples = require_samples(raw, split)
    problems: list[Problem] = []
    read = partial(read_classes, classes=raw.classes) if raw.multiclass else read_levels
    with_fov = all(sample.fov is not None for sample in samples)
    names = (FULL, FOV) if with_fov else (FULL,)
    regions: dict[str, list[NDArray[np.int64]]] = {name: [] for name in names}
    contours: dict[str, list[NDArray[np.float64]]] = {name: [] for name in names}
    for sample in progress_bar(samples, f"{experiment}: {split} samples", len(samples)):
        try:
            truth = raw.read_truth(sample) if raw.multiclass else raw.read_foreground(sample)
            height, width = truth.shape
            fov = raw.read_fov(sample) if with_fov else None
            mismatch = same_size(sample, sample.fov or "", fov, (height, width))
            if mismatch is not None:
                raise RawDataError(mismatch)
            predicted = read(predictions / f"{sample.id}.png", height, width)
        except PipelineError as error:
            problems += error.problems
            continue
        known = truth != VOID
        counting = {FULL: None if known.all() else known, **({} if fov is None else {FOV: known & (fov == 1)})}
        for name, region in counting.items():
            if raw.multiclass:
                numbers = range(len(raw.classes))
                regions[name].append(joint_confusion(predicted, truth, len(numbers), region))
                by_class = [contour_scores(predicted == number, truth == number, region) for number in numbers]
                contours[name].append(np.stack(by_class))
            else:
                regions[name].append(joint_histogram(predicted, truth, region))
                if cut is not None:
                    contours[name].append(contour_scores(predicted > cut, truth == 1, region))
    if problems:
        raise PredictionError(problems)
    return SplitCounts(
        ids=[sample.id for sample in samples],
        regions={name: np.stack(counts) for name, counts in regions.items()},
        contours={name: np.array(numbers) for name, numbers in contours.items()},
    )


def count_splits(
    raw: RawDataset, predictions: Mapping[str, Path], experiment: str, cut: int | None = None
) -> list[tuple[str, SplitCounts]]:
    """Count several splits, in the order of their names; see `count_split`.

    Raises
    ------
    PredictionError
        Listing what is wrong with any of them.
    """
    counted: list[tuple[str, SplitCounts]] = []
    problems: list[Problem] = []
    for split, folder in sorted(predictions.items()):
        try:
            counted.append((split, count_split(raw, split, folder, experiment, cut)))
        except PipelineError as error:
            problems += error.problems
    if problems:
        raise PredictionError(problems)
    return counted
