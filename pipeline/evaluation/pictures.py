"""The pictures of a split: mask, overlay, three panels side by side, and a sheet of some of them."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.counts import VOID, cut_level
from pipeline.core.errors import PipelineError, PredictionError, Problem, RawDataError
from pipeline.core.files import atomic_file, atomic_folder
from pipeline.core.fingerprint import sign
from pipeline.core.progress import track
from pipeline.evaluation.recipes import RenderRecipe
from pipeline.evaluation.thresholds import read_threshold
from pipeline.images.captions import below
from pipeline.images.figures import VOID_GREY, Picture, for_display, overlay, panel
from pipeline.images.png import read_levels, write_png
from pipeline.raw.check.text import printable
from pipeline.raw.dataset import RawDataset, open_dataset, require_samples, same_size
from pipeline.raw.decode.image import read_image
from pipeline.raw.samples import Sample

_SHEET_ROWS = 4  # panels on the sheet, evenly spaced over the samples
_SHEET_GAP = 10  # pixels below a name, so that it belongs to the panel above it


def render(
    recipe: RenderRecipe,
    *,
    experiment: str,
    predictions: Path,
    threshold: Path,
    output: Path,
    fingerprint: str | None = None,
) -> None:
    """Write the folders ``mask``, ``overlay`` and ``panel`` and the file ``sheet.png`` of one split.

    Parameters
    ----------
    recipe : RenderRecipe
    experiment : str
    predictions : Path
        Folder of probability PNGs.
    threshold : Path
        The file that `choose_threshold` wrote.
    output : Path
        Folder for the four.
    fingerprint : str, optional
        What the pictures are made by (`pipeline.core.fingerprint.Fingerprint.to_json`), to store in each folder.

    Raises
    ------
    RawDataError, PredictionError, OutputError
        Listing every picture that cannot be used.
    """
    raw, split = open_dataset(recipe.dataset, recipe.source), recipe.split
    samples = require_samples(raw, split)
    cut = cut_level(read_threshold(threshold).value)
    shown = on_sheet(samples)
    note = "drawn sample data" if raw.drawn else ""
    sheet: dict[str, Picture] = {}
    with (
        atomic_folder(output / "mask") as masks,
        atomic_folder(output / "overlay") as overlays,
        atomic_folder(output / "panel") as panels,
    ):

        def draw(sample: Sample) -> None:
            image, predicted, truth = _load(raw, sample, predictions, cut)
            write_png(masks / f"{sample.id}.png", predicted.astype(np.uint8) * np.uint8(255))
            painted = overlay(image, predicted, None) if truth is None else _compare(image, predicted, truth)
            write_png(overlays / f"{sample.id}.png", painted)
            whole = panel(_three(image, predicted, truth), note)
            write_png(panels / f"{sample.id}.png", whole)
            if sample.id in shown:
                sheet[sample.id] = whole

        draw_all(draw, samples, f"{experiment}: {split} pictures")
        sign(fingerprint, masks, overlays, panels)
    with atomic_file(output / "sheet.png") as temporary:
        write_png(temporary, stack(named_rows(sheet)))


def named_rows(panels: Mapping[str, Picture]) -> list[Picture]:
    """Write the identifier of each sample under its panel, in their order."""
    gap = ((0, _SHEET_GAP), (0, 0), (0, 0))
    named = [below(panels[name], str(printable(name))) for name in sorted(panels)]
    return [np.pad(row, gap, constant_values=255) for row in named[:-1]] + named[-1:]


def on_sheet(samples: Sequence[Sample]) -> set[str]:
    """Choose the few samples, evenly spaced, that a sheet shows; return their identifiers."""
    return {samples[round(i)].id for i in np.linspace(0, len(samples) - 1, min(_SHEET_ROWS, len(samples)))}


def draw_all(draw: Callable[[Sample], None], samples: Sequence[Sample], what: str) -> None:
    """Draw every sample, two at a time.

    Raises
    ------
    PredictionError
        Listing every picture that cannot be used.
    """
    problems: list[Problem] = []
    with ThreadPoolExecutor(max_workers=2) as pool:
        futures = [pool.submit(draw, sample) for sample in samples]
        for future in track(futures, what, len(futures)):
            try:
                future.result()
            except PipelineError as error:
                problems += error.problems
    if problems:
        raise PredictionError(problems)


def load_image(raw: RawDataset, sample: Sample) -> tuple[Picture, NDArray[np.uint8] | None]:
    """Read a sample's picture, as 8-bit RGB, and its mask where it has one.

    Raises
    ------
    RawDataError
        If one of them cannot be read, or they differ in size.
    """
    image = for_display(read_image(sample.image, "rgb", page=sample.page))
    if not sample.labelled:
        return image, None
    truth = raw.read_truth(sample) if raw.multiclass else raw.read_foreground(sample)
    mismatch = same_size(sample, sample.mask or sample.codes_file or "", truth, (image.shape[0], image.shape[1]))
    if mismatch is not None:
        raise RawDataError(mismatch)
    return image, truth


def _load(
    raw: RawDataset, sample: Sample, predictions: Path, cut: int
) -> tuple[Picture, NDArray[np.bool_], NDArray[np.uint8] | None]:
    image, truth = load_image(raw, sample)
    levels = read_levels(predictions / f"{sample.id}.png", image.shape[0], image.shape[1])
    return image, levels > cut, truth


def _compare(image: Picture, predicted: NDArray[np.bool_], truth: NDArray[np.uint8]) -> Picture:
    """Paint where prediction and mask agree and differ; a void pixel is neither right nor wrong, and stays grey."""
    return overlay(image, predicted & (truth != VOID), truth == 1)


def _three(image: Picture, predicted: NDArray[np.bool_], truth: NDArray[np.uint8] | None) -> list[tuple[str, Picture]]:
    def grey(plane: NDArray[np.uint8]) -> Picture:
        return np.repeat(plane[:, :, None], 3, axis=2)

    if truth is None:
        middle = ("no mask", np.full_like(image, 200))
    else:
        true = (truth == 1) * np.uint8(255)
        middle = ("mask", grey(np.where(truth == VOID, np.uint8(VOID_GREY), true)))
    return [("image", image), middle, ("prediction", grey(predicted * np.uint8(255)))]


def stack(panels: Sequence[Picture]) -> Picture:
    """Set pictures of any width one under the other, on white."""
    width = max(one.shape[1] for one in panels)
    padded = [np.pad(one, ((0, 6), (0, width - one.shape[1]), (0, 0)), constant_values=255) for one in panels]
    return np.vstack(padded)
