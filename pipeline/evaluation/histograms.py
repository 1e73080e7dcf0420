"""One joint histogram for each picture and region: all that scores and thresholds are made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.counts import Histogram, joint_histogram
from pipeline.errors import PipelineError, PredictionError, Problem
from pipeline.png import read_levels
from pipeline.progress import track
from pipeline.raw.dataset import RawDataset, same_size
from pipeline.raw.samples import Sample

FOV, FULL = "fov", "full"
"""Region names: inside the field of view, and the full picture."""


@dataclass(frozen=True)
class SplitHistograms:
    """Histograms of the pictures of one split.

    Parameters
    ----------
    ids : list of str
    regions : dict of str to (N, 2, 256) array of int64
        ``full`` always, ``fov`` where all samples have a field of view.
    """

    ids: list[str]
    regions: dict[str, Histogram]

    @property
    def main_region(self) -> str:
        """The region that thresholds are chosen in: the field of view where there is one."""
        return FOV if FOV in self.regions else FULL


def split_histograms(dataset: RawDataset, samples: Sequence[Sample], predictions: Path, what: str) -> SplitHistograms:
    """Compare predictions with native masks, at native size.

    Parameters
    ----------
    dataset : RawDataset
    samples : sequence of Sample
        Labelled ones.
    predictions : Path
        Folder of ``<id>.png``.
    what : str
        What is being done, for the progress display.

    Raises
    ------
    RawDataError, PredictionError
        Listing every mask and prediction that cannot be used.
    """
    problems: list[Problem] = []
    with_fov = all(sample.fov is not None for sample in samples)
    regions: dict[str, list[Histogram]] = {FULL: [], **({FOV: []} if with_fov else {})}
    for sample in track(samples, what, len(samples)):
        try:
            mask = dataset.read_foreground(sample)
            fov = dataset.read_fov(sample) if with_fov else None
            mismatch = same_size(sample, sample.fov or "", fov, (mask.shape[0], mask.shape[1]))
            if mismatch is not None:
                problems.append(mismatch)
                continue
            levels = read_levels(predictions / f"{sample.id}.png", *mask.shape)
        except PipelineError as error:
            problems += error.problems
            continue
        regions[FULL].append(joint_histogram(levels, mask))
        if fov is not None:
            regions[FOV].append(joint_histogram(levels, mask, fov == 1))
    if problems:
        raise PredictionError(problems)
    return SplitHistograms(
        ids=[sample.id for sample in samples],
        regions={name: np.stack(histograms) for name, histograms in regions.items()},
    )
