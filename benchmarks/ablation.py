"""What the mistakes of two tutorials change: writes docs/results/ablation.csv from the predictions of finished runs.

    python -m benchmarks.ablation [--results DIR] [--output FILE]

config/tutorials-cpu.yaml has the command of the runs: those of tutorials A and E as they are, and the same with a
mistake. Both sides of a row are scored on the same test images, at native size. A row differs from the first one of its
tutorial in nothing else: the network is the same, or is trained on the same images with the same seed. Differences are
means over images, with the paired bootstrap interval of `pipeline.evaluation.paired`.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.config.config import load
from pipeline.core.counts import Histogram, confusion, threshold_level
from pipeline.core.errors import PipelineError, RawDataError
from pipeline.core.tables import write_table
from pipeline.evaluation.criteria import best_threshold
from pipeline.evaluation.metrics import METRICS
from pipeline.evaluation.paired import compare_pairs
from pipeline.evaluation.regions import FOV, FULL, count_split
from pipeline.raw.dataset import RawDataset, open_dataset
from pipeline.report.results_page import ABLATION_COLUMNS

CONFIG = Path("config/tutorials-cpu.yaml")

Read = Callable[[str, str], dict[str, Histogram]]
"""Returns the joint histograms (N, 2, 256) by region of the predictions of an experiment on a split."""


@dataclass(frozen=True)
class Mistake:
    """A score of N images without and with a mistake, (N,) arrays in the same order."""

    tutorial: str
    dataset: str
    mistake: str
    metric: str
    mended: NDArray[np.float64]
    with_mistake: NDArray[np.float64]

    def row(self) -> dict[str, object]:
        """Return the row of the table."""
        result = compare_pairs(np.stack([self.with_mistake, self.mended]).round(6), [(0, 1)])
        values = (self.mended.mean(), self.with_mistake.mean(), result.difference[0], result.low[0], result.high[0])
        texts = (self.tutorial, self.dataset, self.mistake, self.metric)
        return dict(zip(ABLATION_COLUMNS, (*texts, *values, len(self.mended)), strict=True))


def score(histograms: Histogram, metric: str, threshold: float) -> NDArray[np.float64]:
    """Return the score of each image at a threshold, (N,) array; 1 where mask and prediction are both empty."""
    return np.asarray(METRICS[metric].function(confusion(histograms, threshold_level(threshold)), 1.0))


def mistakes_of_a(read: Read) -> Iterator[Mistake]:
    """Yield what mistakes change on DRIVE. Thresholds have the best micro F1 in the field of view."""
    test, validation = read("a-drive", "test"), read("a-drive", "validation")
    threshold = best_threshold(validation[FOV])[0]
    mended = score(test[FOV], "f1", threshold)

    def f1(mistake: str, histograms: Histogram, used: float) -> Mistake:
        return Mistake("A", "drive", mistake, "f1", mended, score(histograms, "f1", used))

    experiment = "a-drive-interpolated"
    used = best_threshold(read(experiment, "validation")[FOV])[0]
    yield f1("labels interpolated", read(experiment, "test")[FOV], used)
    yield f1("threshold 0.5, not chosen", test[FOV], 0.5)
    yield f1("threshold chosen on test images", test[FOV], best_threshold(test[FOV])[0])
    experiment = "a-drive-selected-on-test"  # its validation samples are the test images, and the reverse
    selected, others = read(experiment, "validation")[FOV], read(experiment, "test")[FOV]
    yield f1("epoch chosen on test images", selected, best_threshold(others)[0])
    yield f1("epoch and threshold chosen on test images", selected, best_threshold(selected)[0])
    for metric in ("f1", "accuracy"):
        inside, everywhere = (score(test[region], metric, threshold) for region in (FOV, FULL))
        yield Mistake("A", "drive", "scored outside the field of view too", metric, inside, everywhere)


def mistakes_of_e(read: Read) -> Iterator[Mistake]:
    """Yield what mistakes change on TGS. The threshold is 0.5, or the one with the best macro competition score."""
    metric = "tgs_score"
    test, validation = (read("e-tgs", split)[FULL] for split in ("test", "validation"))
    fixed = score(test, metric, 0.5)
    interpolated = score(read("e-tgs-interpolated", "test")[FULL], metric, 0.5)
    yield Mistake("E", "tgs", "labels interpolated", metric, fixed, interpolated)
    chosen = score(test, metric, best_threshold(validation, metric, "macro")[0])
    yield Mistake("E", "tgs", "threshold 0.5, not chosen", metric, chosen, fixed)
    leaked = score(test, metric, best_threshold(test, metric, "macro")[0])
    yield Mistake("E", "tgs", "threshold chosen on test images", metric, chosen, leaked)


def write(results: Path, output: Path) -> None:
    """Write the table.

    Raises
    ------
    PipelineError
        If predictions are missing, or data sets do not have the same training and test images.
    """
    config = load([CONFIG])

    def open_split(name: str, split: str) -> RawDataset:
        return open_dataset(name, config.datasets[name].source(split, cache=""))

    def ids(name: str, split: str) -> list[str]:
        return [sample.id for sample in open_split(name, split).splits[split]]

    def read(experiment: str, split: str) -> dict[str, Histogram]:
        raw = open_split(config.experiments[experiment].dataset, split)
        folder = results / "predictions" / experiment / split / "probability"
        return count_split(raw, split, folder, experiment).regions

    swapped = {"train": "train", "test": "validation", "validation": "test"}
    if any(ids("drive", split) != ids("drive-selected-on-test", other) for split, other in swapped.items()):
        found, remedy = "other samples", f"write them with the commands in {CONFIG}"
        raise RawDataError(
            "lists of drive-selected-on-test", found, "the samples of drive, test and validation swapped", remedy
        )
    rows = [mistake.row() for mistakes in (mistakes_of_a, mistakes_of_e) for mistake in mistakes(read)]
    write_table(output, pd.DataFrame(rows))


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or end with 1 after an error."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.ablation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=Path("results"), help="results of the runs (results)")
    parser.add_argument("--output", type=Path, default=Path("docs/results/ablation.csv"), help="the table")
    arguments = parser.parse_args(words)
    try:
        write(arguments.results, arguments.output)
    except PipelineError as error:
        parser.exit(1, f"{error}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
