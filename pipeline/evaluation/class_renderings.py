"""Renderings of several classes: class colours, overlay, panel, a sheet of panels, and a legend."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.counts import VOID
from pipeline.core.files import atomic_file
from pipeline.evaluation.classes import read_classes, require_class_indices
from pipeline.evaluation.recipes import RenderRecipe
from pipeline.evaluation.renderings import SampleRendering, label_panels, render_samples, stack, three_panels
from pipeline.images.colours import legend, overlay_classes, paint
from pipeline.images.figures import RgbImage
from pipeline.images.png import write_png
from pipeline.raw.dataset import open_dataset, require_samples
from pipeline.raw.samples import Sample


def render_classes(recipe: RenderRecipe, *, experiment: str, predictions: Path, output: Path, threads: int = 1) -> None:
    """Write the folders ``colour``, ``overlay`` and ``panel``, and ``legend.png`` and ``sheet.png``, of one split.

    Parameters
    ----------
    recipe : RenderRecipe
    experiment : str
    predictions : Path
        Folder of class-index PNGs.
    output : Path
        Folder for these three folders and two files.
    threads : int
        Images that are rendered at a time.

    Raises
    ------
    RawDataError, PredictionError, OutputError
        Lists every image that cannot be used.
    """
    raw = open_dataset(recipe.dataset, recipe.source)
    samples = require_samples(raw, recipe.split)
    require_class_indices(predictions, (sample.id for sample in samples), raw)
    ids_with_ignored: set[str] = set()

    def render_sample(sample: Sample, image: RgbImage, truth: NDArray[np.uint8] | None) -> SampleRendering:
        predicted = read_classes(predictions / f"{sample.id}.png", image.shape[0], image.shape[1], raw.classes)
        coloured = paint(predicted, raw.colours)
        parts = (image, None if truth is None else paint(truth, raw.colours), coloured)
        panels = three_panels(raw, parts)
        has_ignored = truth is not None and bool((truth == VOID).any())
        if has_ignored:
            ids_with_ignored.add(sample.id)
        panel_legend = legend(raw.classes, raw.colours, width=panels.shape[1], void=has_ignored)
        painted = overlay_classes(image, predicted, truth, raw.colours, background=raw.has_background)
        return coloured, painted, stack([panels, panel_legend]), parts

    kinds, description = ("colour", "overlay", "panel"), f"{experiment}: {recipe.split} images"
    sheet = render_samples(raw, samples, description, output, kinds, render_sample, threads)
    rows = label_panels(sheet)
    widest = max(row.shape[1] for row in rows)
    sheet_legend = legend(raw.classes, raw.colours, width=widest, void=bool(ids_with_ignored & sheet.keys()))
    with atomic_file(output / "sheet.png") as temporary:
        write_png(temporary, stack([*rows, sheet_legend]))
    labelled = any(sample.labelled for sample in samples)
    with atomic_file(output / "legend.png") as temporary:
        write_png(temporary, legend(raw.classes, raw.colours, void=bool(ids_with_ignored), wrong=labelled))
