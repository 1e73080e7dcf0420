"""Pictures for people where there are several classes: colours, overlay, three panels, a sheet, and a legend."""

from pathlib import Path

import numpy as np

from pipeline.core.counts import VOID
from pipeline.core.files import atomic_file, atomic_folder
from pipeline.core.fingerprint import sign
from pipeline.evaluation.classes import read_classes
from pipeline.evaluation.pictures import draw_all, load_image, named_rows, on_sheet, stack
from pipeline.evaluation.recipes import RenderRecipe
from pipeline.images.colours import legend, overlay_classes, paint
from pipeline.images.figures import Picture, panel
from pipeline.images.png import write_png
from pipeline.raw.dataset import open_dataset, require_samples
from pipeline.raw.samples import Sample


def render_classes(
    recipe: RenderRecipe, *, experiment: str, predictions: Path, output: Path, fingerprint: str | None = None
) -> None:
    """Write the folders ``colour``, ``overlay`` and ``panel``, and ``legend.png`` and ``sheet.png``, of one split.

    Parameters
    ----------
    recipe : RenderRecipe
    experiment : str
    predictions : Path
        Folder of class-index PNGs.
    output : Path
        Folder for the five.
    fingerprint : str, optional
        What the pictures are made by (`pipeline.core.fingerprint.Fingerprint.to_json`), to store in each folder.

    Raises
    ------
    RawDataError, PredictionError, OutputError
        Listing every picture that cannot be used.
    """
    raw, split = open_dataset(recipe.dataset, recipe.source), recipe.split
    samples = require_samples(raw, split)
    shown = on_sheet(samples)
    note = "drawn sample data" if raw.drawn else ""
    sheet: dict[str, Picture] = {}
    with_void: set[str] = set()
    with (
        atomic_folder(output / "colour") as colours,
        atomic_folder(output / "overlay") as overlays,
        atomic_folder(output / "panel") as panels,
    ):

        def draw(sample: Sample) -> None:
            image, truth = load_image(raw, sample)
            name = f"{sample.id}.png"
            predicted = read_classes(predictions / name, image.shape[0], image.shape[1], raw.classes)
            coloured = paint(predicted, raw.colours)
            write_png(colours / name, coloured)
            write_png(overlays / name, overlay_classes(image, predicted, truth, raw.colours))
            middle = ("no mask", np.full_like(image, 200)) if truth is None else ("mask", paint(truth, raw.colours))
            three = panel([("image", image), middle, ("prediction", coloured)], note)
            void = truth is not None and bool((truth == VOID).any())
            write_png(panels / name, stack([three, legend(raw.classes, raw.colours, width=three.shape[1], void=void)]))
            if void:
                with_void.add(sample.id)
            if sample.id in shown:
                sheet[sample.id] = three

        draw_all(draw, samples, f"{experiment}: {split} pictures")
        sign(fingerprint, colours, overlays, panels)
    rows = named_rows(sheet)
    widest = max(row.shape[1] for row in rows)
    key = legend(raw.classes, raw.colours, width=widest, void=bool(with_void & shown))
    with atomic_file(output / "sheet.png") as temporary:
        write_png(temporary, stack([*rows, key]))
    labelled = any(sample.labelled for sample in samples)
    with atomic_file(output / "legend.png") as temporary:
        write_png(temporary, legend(raw.classes, raw.colours, void=bool(with_void), wrong=labelled))
