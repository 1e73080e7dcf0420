"""Counts of every picture of a split, by region: what all scores and thresholds are made of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.counts import VOID
from pipeline.core.errors import PipelineError, PredictionError, Problem
from pipeline.core.progress import track
from pipeline.raw.dataset import RawDataset, same_size
from pipeline.raw.samples import Sample

FOV, FULL = "fov", "full"
"""Region names: inside the field of view, and the full picture."""

Plane = NDArray[np.uint8]
Count = Callable[[Plane, Plane, NDArray[np.bool_] | None], NDArray[np.int64]]
"""Prediction (H, W), truth (H, W) and the pixels that count (H, W; None: all of them) to counts of any shape."""

Measure = Callable[[Plane, Plane, NDArray[np.bool_] | None], NDArray[np.float64]]
"""As `Count`, to numbers that no counts tell."""


@dataclass(frozen=True)
class SplitCounts:
    """Counts of the pictures of one split. Pixels that are `VOID` in the truth count in no region.

    Parameters
    ----------
    ids : list of str
    regions : dict of str to (N, ...) array of int64
        ``full`` always, ``fov`` where all samples have a field of view.
    measured : dict of str to (N, ...) array of float64
        What was measured on the pictures themselves, by the same regions; empty where nothing was.
    """

    ids: list[str]
    regions: dict[str, NDArray[np.int64]]
    measured: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    @property
    def main_region(self) -> str:
        """The region that thresholds are chosen in: the field of view where there is one."""
        return FOV if FOV in self.regions else FULL


def count_split(
    dataset: RawDataset,
    samples: Sequence[Sample],
    what: str,
    *,
    read_truth: Callable[[Sample], Plane],
    read_prediction: Callable[[Sample, int, int], Plane],
    count: Count,
    measure: Measure | None = None,
) -> SplitCounts:
    """Compare predictions with native masks, at native size.

    Parameters
    ----------
    dataset : RawDataset
    samples : sequence of Sample
        Labelled ones.
    what : str
        What is being done, for the progress display.
    read_truth : callable
        Gives a sample's mask, (H, W) of class indices or `VOID`.
    read_prediction : callable
        Gives a sample's prediction, for the height and width that its mask has.
    count : callable
        See `Count`.
    measure : callable, optional
        See `Measure`.

    Raises
    ------
    PredictionError
        Listing every mask and prediction that cannot be used.
    """
    problems: list[Problem] = []
    with_fov = all(sample.fov is not None for sample in samples)
    names = (FULL, FOV) if with_fov else (FULL,)
    regions: dict[str, list[NDArray[np.int64]]] = {name: [] for name in names}
    measured: dict[str, list[NDArray[np.float64]]] = {name: [] for name in names}
    for sample in track(samples, what, len(samples)):
        try:
            truth = read_truth(sample)
            fov = dataset.read_fov(sample) if with_fov else None
            mismatch = same_size(sample, sample.fov or "", fov, (truth.shape[0], truth.shape[1]))
            if mismatch is not None:
                problems.append(mismatch)
                continue
            predicted = read_prediction(sample, truth.shape[0], truth.shape[1])
        except PipelineError as error:
            problems += error.problems
            continue
        known = truth != VOID
        counting = {FULL: None if known.all() else known, **({} if fov is None else {FOV: known & (fov == 1)})}
        for name, region in counting.items():
            regions[name].append(count(predicted, truth, region))
            if measure is not None:
                measured[name].append(measure(predicted, truth, region))
    if problems:
        raise PredictionError(problems)
    return SplitCounts(
        ids=[sample.id for sample in samples],
        regions={name: np.stack(counts) for name, counts in regions.items()},
        measured={name: np.stack(numbers) for name, numbers in measured.items() if numbers},
    )


def count_splits(
    predictions: Mapping[str, Path], count: Callable[[str, Path], SplitCounts]
) -> list[tuple[str, SplitCounts]]:
    """Count several splits, in the order of their names.

    Parameters
    ----------
    predictions : mapping of str to Path
        Split to its folder of predictions.
    count : callable
        Counts one split.

    Raises
    ------
    PredictionError
        Listing what is wrong with any of them.
    """
    counted: list[tuple[str, SplitCounts]] = []
    problems: list[Problem] = []
    for split, folder in sorted(predictions.items()):
        try:
            counted.append((split, count(split, folder)))
        except PipelineError as error:
            problems += error.problems
    if problems:
        raise PredictionError(problems)
    return counted
