"""Score predictions of several classes against the native masks: four CSV files and an image.

``per_image.csv`` has a row for each image, region and class, the class against all others. ``summary.csv`` has, for
each split, region and averaging, a row for each class and the row `MEAN`, the mean over the foreground classes (class 0
is background). Averaging ``macro`` is the mean over images, ``micro`` takes all pixels together. ``accuracy`` is the
share of pixels that got their true class: it belongs to no single class and stands in the `MEAN` rows only.
``confusion.csv`` has a row for each split, region, true and predicted class, with the pixels of all images together
and their share of the true class's pixels; ``confusion.png`` shows those shares.
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
from pipeline.evaluation.classes import one_against_rest, pixel_accuracy
from pipeline.evaluation.confusion import confusion_table, plot_confusions
from pipeline.evaluation.intervals import class_intervals, f1_bounds
from pipeline.evaluation.methods import MEAN
from pipeline.evaluation.metrics import OF_CLASSES, OF_CONTOURS, compute
from pipeline.evaluation.recipes import EvaluateRecipe
from pipeline.evaluation.regions import SplitCounts, count_splits
from pipeline.evaluation.tables import Scored, mean_of, score_regions, write_scores
from pipeline.evaluation.thresholds import Threshold
from pipeline.raw.dataset import open_dataset

ARGMAX = Threshold(math.nan, "argmax")
"""A pixel gets its most probable class; there is no threshold."""


def evaluate_classes(
    recipe: EvaluateRecipe,
    *,
    experiment: str,
    predictions: Mapping[str, Path],
    output: Path,
) -> None:
    """Write ``per_image.csv``, ``summary.csv``, ``intervals.csv``, ``confusion.csv`` and ``confusion.png``.

    Parameters
    ----------
    recipe : EvaluateRecipe
    experiment : str
    predictions : mapping of str to Path
        Split (``validation``, ``test``) to its folder of class-index PNGs.
    output : Path
        Folder for the five files.

    Raises
    ------
    RawDataError, PredictionError, OutputError
    """
    raw = open_dataset(recipe.dataset, recipe.source)
    counted = count_splits(raw, predictions, experiment)
    score = partial(_score, classes=raw.classes)
    rows = write_scores(score_regions(raw, recipe, experiment, ARGMAX, counted, score), output, "confusion.csv")
    pooled = {
        (split, region): joint.sum(axis=0) for split, compared in counted for region, joint in compared.regions.items()
    }
    title = f"{experiment} (synthetic data)" if raw.synthetic else experiment
    plot_confusions(pooled, classes=raw.classes, title=title, output=output / "confusion.png")
    for split, compared in counted:
        # what the policy for empty masks gives these classes is no evidence
        pixels = pooled[split, compared.main_region].sum(axis=1)
        if absent := [name for name, count in zip(raw.classes, pixels, strict=True) if count == 0]:
            log(f"{experiment}, {split}: no mask has {', '.join(absent)}; read the scores of these classes with care")
    for row in rows:
        if row["class"] == MEAN:
            where = ", ".join((experiment, row["split"], row["region"], row["averaging"]))
            log(f"{where}: mean F1 {row['f1']:.4f}, IoU {row['iou']:.4f}, accuracy {row['accuracy']:.4f}")


def _score(
    conditions: dict[str, Any], compared: SplitCounts, region: str, weights: Weights, classes: Sequence[str]
) -> Scored:
    """Score single images, their mean (macro) and all pixels together (micro), then the mean of foreground classes."""
    joint, policy, size = compared.regions[region], conditions["empty_masks"], len(classes)
    counts, pooled = one_against_rest(joint), joint.sum(axis=0)
    scores = compute(OF_CLASSES, counts, policy) | compute(OF_CONTOURS, counts, policy, compared.contours[region])
    images = pd.DataFrame(
        {
            **conditions,
            "class": [*classes] * len(joint),
            "id": np.repeat(np.array(compared.ids, dtype=object), size),
            "pixels": np.repeat(joint.sum(axis=(1, 2)), size),
            **{name: values.ravel() for name, values in {**counts._asdict(), **scores}.items()},
        }
    )
    averages = {
        "macro": {name: np.array([mean_of(column) for column in values.T]) for name, values in scores.items()},
        # contours belong to single images
        "micro": dict.fromkeys(scores, np.full(size, math.nan)) | compute(OF_CLASSES, one_against_rest(pooled), policy),
    }
    accuracies = {"macro": mean_of(pixel_accuracy(joint)), "micro": float(pixel_accuracy(pooled))}
    intervals = class_intervals(weights, joint, scores, policy)
    rows, found = [], []
    for averaging, values in averages.items():
        by_class = [
            {name: float(column[index]) for name, column in values.items()} | {"accuracy": math.nan}
            for index in range(size)
        ]
        mean = {name: mean_of(column[1:]) for name, column in values.items()} | {"accuracy": accuracies[averaging]}
        for name, scored, ends in zip((*classes, MEAN), (*by_class, mean), intervals[averaging], strict=True):
            about = {"class": name, "averaging": averaging, "images": len(joint)}
            rows.append({**conditions, **about, **scored, **f1_bounds(ends)})
            found.append(ends)
    return Scored(images, rows, found, confusion_table(conditions, pooled, classes))
