"""One joint histogram for each picture and region of a split: what two-class scores and thresholds are made of."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.core.counts import joint_histogram
from pipeline.evaluation.contours import contour_scores
from pipeline.evaluation.regions import SplitCounts, count_split
from pipeline.images.png import read_levels
from pipeline.raw.dataset import RawDataset
from pipeline.raw.samples import Sample


def split_histograms(
    dataset: RawDataset, samples: Sequence[Sample], predictions: Path, what: str, cut: int | None = None
) -> SplitCounts:
    """Compare probabilities with native two-class masks, at native size.

    Parameters
    ----------
    dataset : RawDataset
    samples : sequence of Sample
        Labelled ones.
    predictions : Path
        Folder of ``<id>.png``.
    what : str
        What is being done, for the progress display.
    cut : int, optional
        Levels above it are foreground: contours are measured as well.

    Returns
    -------
    SplitCounts
        Joint histograms, (N, 2, 256) for each region; of contours (N, 2), see `contour_scores`.

    Raises
    ------
    PredictionError
        Listing every mask and prediction that cannot be used.
    """
    return count_split(
        dataset,
        samples,
        what,
        read_truth=dataset.read_foreground,
        read_prediction=lambda sample, height, width: read_levels(predictions / f"{sample.id}.png", height, width),
        count=joint_histogram,
        measure=None
        if cut is None
        else lambda predicted, truth, region: contour_scores(predicted > cut, truth == 1, region),
    )
