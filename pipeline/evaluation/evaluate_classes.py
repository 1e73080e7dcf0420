"""Score predictions of several classes against the native masks: four CSV files and a picture.

``per_image.csv`` has a row for each picture, region and class, the class against all others. ``summary.csv`` has, for
each split, region and averaging, a row for each class and the row `MEAN`, the mean over the foreground classes (class 0
is background). Averaging ``macro`` is the mean over pictures, ``micro`` takes all pixels together. ``accuracy`` is the
share of pixels that got their true class: it belongs to no single class and stands in the `MEAN` rows only.
``confusion.csv`` has a row for each split, region, true and predicted class, with the pixels of all pictures together
and their share of the true class's pixels; ``confusion.png`` shows those shares.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.core.files import write_table
from pipeline.core.fingerprint import sign
from pipeline.core.progress import say
from pipeline.evaluation.bootstrap import resampling_weights
from pipeline.evaluation.classes import Joint, one_against_rest, pixel_accuracy, split_confusions
from pipeline.evaluation.confusion import confusion_table, plot_confusions
from pipeline.evaluation.contours import CONTOUR_SCORES
from pipeline.evaluation.evaluate import conditions, contour_columns, mean_of
from pipeline.evaluation.intervals import COLUMNS, Found, class_intervals, f1_bounds, interval_rows
from pipeline.evaluation.metrics import OF_CLASSES, compute
from pipeline.evaluation.recipes import EvaluateRecipe
from pipeline.evaluation.regions import count_splits
from pipeline.evaluation.scores import Scores
from pipeline.evaluation.thresholds import Threshold
from pipeline.raw.dataset import RawDataset, open_dataset, require_samples

MEAN = "mean"
"""What the column ``class`` says of the mean over the foreground classes."""

ARGMAX = Threshold(math.nan, "argmax")
"""A pixel gets its most probable class; there is no threshold."""


def evaluate_classes(
    recipe: EvaluateRecipe,
    *,
    experiment: str,
    predictions: Mapping[str, Path],
    output: Path,
    fingerprint: str | None = None,
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
    fingerprint : str, optional
        What the scores are made by (`pipeline.core.fingerprint.Fingerprint.to_json`), to store in a file beside them.

    Raises
    ------
    RawDataError, PredictionError, OutputError
    """
    raw, empty_masks = open_dataset(recipe.dataset, recipe.source), recipe.empty_masks
    counted = count_splits(
        predictions,
        lambda split, folder: split_confusions(
            raw, require_samples(raw, split), folder, f"{experiment}: {split} samples"
        ),
    )
    pictures: list[pd.DataFrame] = []
    summaries: list[dict[str, Any]] = []
    intervals: list[dict[str, Any]] = []
    matrices: list[pd.DataFrame] = []
    pooled: dict[tuple[str, str], Joint] = {}
    for split, compared in counted:
        weights = resampling_weights(len(compared.ids))
        for region, joint in compared.regions.items():
            said = conditions(experiment, raw, split, region, ARGMAX, empty_masks)
            scores = compute(OF_CLASSES, one_against_rest(joint), empty_masks)
            scores |= contour_columns(compared.measured[region], one_against_rest(joint), empty_masks)
            pictures.append(_per_image(said, compared.ids, raw, joint, scores))
            found = class_intervals(weights, joint, scores, empty_masks)
            rows = _summaries(said, raw, joint, scores, empty_masks, found)
            summaries += rows
            for number, row in enumerate(rows):
                intervals += interval_rows(row, found[row["averaging"]][number % (len(raw.classes) + 1)])
            pooled[split, region] = joint.sum(axis=0)
            matrices.append(confusion_table(said, pooled[split, region], raw.classes))
        _say_absent(experiment, split, raw, pooled[split, compared.main_region])
    write_table(output / "per_image.csv", pd.concat(pictures, ignore_index=True))
    write_table(output / "summary.csv", pd.DataFrame(summaries))
    write_table(output / "intervals.csv", pd.DataFrame(intervals, columns=list(COLUMNS)))
    sign(fingerprint, output)
    write_table(output / "confusion.csv", pd.concat(matrices, ignore_index=True))
    title = f"{experiment} (drawn sample data)" if raw.drawn else experiment
    plot_confusions(pooled, classes=raw.classes, title=title, output=output / "confusion.png")
    for row in summaries:
        if row["class"] == MEAN:
            where = ", ".join(str(row[key]) for key in ("split", "region", "averaging"))
            say(f"{experiment}, {where}: mean F1 {row['f1']:.4f}, IoU {row['iou']:.4f}, accuracy {row['accuracy']:.4f}")


def _per_image(
    said: Mapping[str, Any], ids: list[str], raw: RawDataset, joint: Joint, scores: Mapping[str, Scores]
) -> pd.DataFrame:
    counts = one_against_rest(joint)
    columns = {**counts._asdict(), **scores}
    size = len(raw.classes)
    return pd.DataFrame(
        {
            **{key: [value] * (len(ids) * size) for key, value in said.items()},
            "class": [*raw.classes] * len(ids),
            "id": np.repeat(np.array(ids, dtype=object), size),
            "pixels": np.repeat(joint.sum(axis=(1, 2)), size),
            **{name: values.ravel() for name, values in columns.items()},
        }
    )


def _summaries(
    said: Mapping[str, Any],
    raw: RawDataset,
    joint: Joint,
    scores: Mapping[str, Scores],
    empty_masks: str,
    found: Mapping[str, Sequence[Found]],
) -> list[dict[str, Any]]:
    """Average over pictures (macro) and over all pixels together (micro), then over the foreground classes."""
    pooled = joint.sum(axis=0)
    averages = {
        "macro": {name: np.array([mean_of(column) for column in values.T]) for name, values in scores.items()},
        # contours belong to single pictures
        "micro": compute(OF_CLASSES, one_against_rest(pooled), empty_masks)
        | dict.fromkeys(CONTOUR_SCORES, np.full(len(raw.classes), math.nan)),
    }
    accuracies = {"macro": mean_of(pixel_accuracy(joint)), "micro": float(pixel_accuracy(pooled))}
    rows: list[dict[str, Any]] = []
    for averaging, values in averages.items():
        by_class = {
            name: {metric: float(column[index]) for metric, column in values.items()} | {"accuracy": math.nan}
            for index, name in enumerate(raw.classes)
        }
        mean = {metric: mean_of(column[1:]) for metric, column in values.items()} | {"accuracy": accuracies[averaging]}
        rows += [
            {
                **said,
                "class": name,
                "averaging": averaging,
                "images": len(joint),
                **scored,
                **f1_bounds(bounds),
            }
            for (name, scored), bounds in zip((*by_class.items(), (MEAN, mean)), found[averaging], strict=True)
        ]
    return rows


def _say_absent(experiment: str, split: str, raw: RawDataset, pooled: Joint) -> None:
    """Tell which classes no mask of a split has: what the policy for empty masks gives them is no evidence."""
    absent = [name for name, pixels in zip(raw.classes, pooled.sum(axis=1), strict=True) if pixels == 0]
    if absent:
        say(f"{experiment}, {split}: no mask has {', '.join(absent)}; read the scores of these classes with care")
