"""Score predictions of several classes against the native masks: four CSV files and an image.

``per_image.csv`` has a row for each image, region and class, the class against all others. ``summary.csv`` has, for
each split, region and averaging, a row for each class and the row `MEAN`, the mean over the foreground classes that
have a score; ``left_out`` names those that have none. Averaging ``macro`` is the mean over images, ``micro`` the score
over all pixels of all images.
``accuracy`` is the fraction of correctly classified pixels: it belongs to no single class and is only in `MEAN` rows.
``confusion.csv`` has a row for each split, region, true and predicted class, with the pixels of all images and their
fraction of the true class's pixels; ``confusion.png`` shows these fractions.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.core.progress import log
from pipeline.evaluation.bootstrap import Weights
from pipeline.evaluation.classes import ConfusionMatrix, one_vs_rest, pixel_accuracy
from pipeline.evaluation.confusion import confusion_table, plot_confusions
from pipeline.evaluation.intervals import class_intervals, f1_bounds
from pipeline.evaluation.methods import LEFT_OUT, MEAN
from pipeline.evaluation.metrics import CLASS_METRICS, CONTOUR_METRICS, class_scores
from pipeline.evaluation.recipes import EvaluateRecipe
from pipeline.evaluation.regions import SplitCounts, count_splits
from pipeline.evaluation.tables import ScoreTables, nan_mean, score_regions, write_scores
from pipeline.evaluation.thresholds import Threshold
from pipeline.raw.dataset import RawDataset, open_dataset

ARGMAX = Threshold(math.nan, "argmax")
"""A pixel gets its most probable class, without a threshold."""


def evaluate_classes(
    recipe: EvaluateRecipe,
    *,
    experiment: str,
    predictions: Mapping[str, Path],
    output: Path,
    threads: int = 1,
) -> None:
    """Write ``per_image.csv``, ``summary.csv``, ``intervals.csv``, ``confusion.csv`` and ``confusion.png``.

    Parameters
    ----------
    recipe : EvaluateRecipe
    experiment : str
    predictions : mapping of str to Path
        Folder of class-index PNGs by split (``validation``, ``test``).
    output : Path
        Folder for the five files.
    threads : int
        Images that are counted at a time.

    Raises
    ------
    RawDataError, PredictionError, OutputError
    """
    raw = open_dataset(recipe.dataset, recipe.source)
    splits = count_splits(raw, predictions, experiment, threads=threads)
    score = partial(_score, classes=raw.classes, foreground=raw.foreground)
    rows = write_scores(score_regions(raw, recipe, experiment, ARGMAX, splits, score), output, "confusion.csv")
    pooled = {
        (split, region): matrices.sum(axis=0)
        for split, split_counts in splits
        for region, matrices in split_counts.regions.items()
    }
    title = f"{experiment} (synthetic data)" if raw.synthetic else experiment
    plot_confusions(pooled, classes=raw.classes, title=title, output=output / "confusion.png")
    for split, split_counts in splits:
        for note in _absence_notes(pooled[split, split_counts.main_region], raw, recipe.empty_masks):
            log(f"{experiment}, {split}: {note}")
    for row in rows:
        if row["class"] == MEAN:
            label = ", ".join((experiment, row["split"], row["region"], row["averaging"]))
            log(f"{label}: mean F1 {row['f1']:.4f}, IoU {row['iou']:.4f}, accuracy {row['accuracy']:.4f}")


def _absence_notes(matrix: ConfusionMatrix, raw: RawDataset, empty_masks: str) -> list[str]:
    """Return which foreground classes no mask of a split contains, and what they score."""
    counts, names = one_vs_rest(matrix), np.array(raw.classes, dtype=object)
    in_masks, predicted = counts.tp + counts.fn > 0, counts.fp > 0
    scored = "left out of the mean" if empty_masks == "skip" else "1 by `empty_masks: one`"
    return [
        f"no mask has {', '.join(selected)}, {consequence}"
        for subset, consequence in (
            (~in_masks & ~predicted, f"and no prediction: {scored}"),
            (~in_masks & predicted, "but predictions do: 0 in the mean"),
        )
        if len(selected := names[raw.foreground][subset[raw.foreground]])
    ]


def _score(
    conditions: dict[str, Any],
    split_counts: SplitCounts,
    region: str,
    weights: Weights,
    classes: Sequence[str],
    foreground: slice,
) -> ScoreTables:
    """Score each image, the mean over images (macro), all pixels (micro), and the mean over foreground classes."""
    matrices, policy, size = split_counts.regions[region], conditions["empty_masks"], len(classes)
    counts, pooled = one_vs_rest(matrices), matrices.sum(axis=0)
    scores = class_scores(CLASS_METRICS, counts, policy) | class_scores(
        CONTOUR_METRICS, counts, policy, split_counts.contours[region]
    )
    images = pd.DataFrame(
        {
            **conditions,
            "class": [*classes] * len(matrices),
            "id": np.repeat(np.array(split_counts.ids, dtype=object), size),
            "pixels": np.repeat(matrices.sum(axis=(1, 2)), size),
            **{name: values.ravel() for name, values in {**counts._asdict(), **scores}.items()},
        }
    )
    averages = {
        "macro": {name: np.array([nan_mean(column) for column in values.T]) for name, values in scores.items()},
        # contour scores are defined only for single images
        "micro": dict.fromkeys(scores, np.full(size, math.nan))
        | class_scores(CLASS_METRICS, one_vs_rest(pooled), policy),
    }
    accuracies = {"macro": nan_mean(pixel_accuracy(matrices)), "micro": float(pixel_accuracy(pooled))}
    intervals = class_intervals(weights, matrices, scores, policy, foreground)
    left_out = np.array(classes, dtype=object)[foreground][np.isnan(averages["micro"]["f1"][foreground])]
    rows, row_intervals = [], []
    for averaging, values in averages.items():
        by_class = [{name: float(column[index]) for name, column in values.items()} for index in range(size)]
        mean = {name: nan_mean(column[foreground]) for name, column in values.items()}
        rows_by_class = zip((*classes, MEAN), (*by_class, mean), intervals[averaging], strict=True)
        for name, row, ends in rows_by_class:
            accuracy, missing = (accuracies[averaging], "; ".join(left_out)) if name == MEAN else (math.nan, "")
            keys = {"class": name, LEFT_OUT: missing, "averaging": averaging, "images": len(matrices)}
            rows.append({**conditions, **keys, **row, "accuracy": accuracy, **f1_bounds(ends)})
            row_intervals.append(ends)
    return ScoreTables(images, rows, row_intervals, confusion_table(conditions, pooled, classes))
