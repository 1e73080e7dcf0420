"""Renderings of a split: mask, overlay, panel of three images side by side, and a sheet of a few panels."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.counts import VOID, threshold_level
from pipeline.core.errors import PipelineError, PredictionError, Problem, RawDataError, printable
from pipeline.core.files import atomic_file, atomic_folder
from pipeline.core.fine_levels import as_levels
from pipeline.core.parallel import thread_map
from pipeline.core.progress import progress_bar
from pipeline.evaluation.recipes import RenderRecipe
from pipeline.evaluation.thresholds import read_threshold
from pipeline.images.captions import add_caption
from pipeline.images.downscale import downscale
from pipeline.images.figures import VOID_GREY, RgbImage, for_display, overlay, panel
from pipeline.images.foreign import require_levels
from pipeline.images.png import read_probability, write_png
from pipeline.raw.dataset import RawDataset, open_dataset, require_samples, size_problem
from pipeline.raw.samples import Sample

_SHEET_ROWS = 4  # panels on the sheet, of evenly spaced samples
_SHEET_GAP = 10  # pixels below a name, to separate it from the next panel
_SHEET_SIDE = 640  # pixels of the longer side of an image on the sheet

Parts = tuple[RgbImage, RgbImage | None, RgbImage]
"""Image, mask and prediction of one size; no mask if the sample is unlabelled."""

SampleRendering = tuple[NDArray[np.uint8], RgbImage, RgbImage, Parts]
"""The mask of a prediction, its overlay, its panel, and the parts of the panel on the sheet."""


def render(
    recipe: RenderRecipe,
    *,
    experiment: str,
    predictions: Path,
    threshold: Path,
    output: Path,
    threads: int = 1,
) -> None:
    """Write the folders ``mask``, ``overlay`` and ``panel`` and the file ``sheet.png`` of one split.

    Parameters
    ----------
    recipe : RenderRecipe
    experiment : str
    predictions : Path
        Folder of probability PNGs.
    threshold : Path
        File that `choose_threshold` wrote.
    output : Path
        Folder for these three folders and the file.
    threads : int
        Images that are rendered at a time.

    Raises
    ------
    RawDataError, PredictionError, OutputError
        Lists every image that cannot be used.
    """
    raw = open_dataset(recipe.dataset, recipe.source)
    samples = require_samples(raw, recipe.split)
    level = threshold_level(read_threshold(threshold).value)
    require_levels(predictions, (sample.id for sample in samples))

    def render_sample(sample: Sample, image: RgbImage, truth: NDArray[np.uint8] | None) -> SampleRendering:
        predicted = as_levels(read_probability(predictions / f"{sample.id}.png", *image.shape[:2])) > level
        mask = predicted * np.uint8(255)
        if truth is None:
            painted, true_mask = overlay(image, predicted, None), None
        else:
            # an ignored pixel is neither right nor wrong, and stays grey
            painted = overlay(image, predicted & (truth != VOID), truth == 1)
            true_mask = _grey(np.where(truth == VOID, np.uint8(VOID_GREY), (truth == 1) * np.uint8(255)))
        parts = (image, true_mask, _grey(mask))
        return mask, painted, three_panels(raw, parts), parts

    kinds, description = ("mask", "overlay", "panel"), f"{experiment}: {recipe.split} images"
    sheet = render_samples(raw, samples, description, output, kinds, render_sample, threads)
    with atomic_file(output / "sheet.png") as temporary:
        write_png(temporary, stack(label_panels(sheet)))


def _grey(plane: NDArray[np.uint8]) -> RgbImage:
    return np.repeat(plane[:, :, None], 3, axis=2)


def three_panels(raw: RawDataset, parts: Parts, max_width: int | None = None) -> RgbImage:
    """Place image, mask and prediction side by side; a missing mask is replaced by a grey area."""
    image, mask, predicted = parts
    middle = ("no mask", np.full_like(image, 200)) if mask is None else ("mask", mask)
    note = "synthetic data" if raw.synthetic else ""
    return panel([("image", image), middle, ("prediction", predicted)], note, max_width)


def _sheet_panel(raw: RawDataset, parts: Parts) -> RgbImage:
    """Return the panel of a sample on the sheet, with images of at most `_SHEET_SIDE` pixels per side."""
    image, mask, predicted = parts
    small_mask = None if mask is None else downscale(mask, _SHEET_SIDE)
    small = (downscale(image, _SHEET_SIDE), small_mask, downscale(predicted, _SHEET_SIDE))
    return three_panels(raw, small, _SHEET_SIDE)


def render_samples(
    raw: RawDataset,
    samples: Sequence[Sample],
    description: str,
    output: Path,
    kinds: Sequence[str],
    render_sample: Callable[[Sample, RgbImage, NDArray[np.uint8] | None], SampleRendering],
    threads: int,
) -> dict[str, RgbImage]:
    """Render all samples, `threads` at a time, and write their mask, overlay and panel to the folders `kinds`.

    Returns
    -------
    dict of str to (H, W, 3) array of uint8
        Panels for the sheet by identifier, of a few evenly spaced samples.

    Raises
    ------
    PredictionError
        Lists every image that cannot be used.
    """
    sheet_ids = {samples[round(i)].id for i in np.linspace(0, len(samples) - 1, min(_SHEET_ROWS, len(samples)))}
    sheet: dict[str, RgbImage] = {}
    with ExitStack() as exit_stack:
        folders = [exit_stack.enter_context(atomic_folder(output / kind)) for kind in kinds]

        def write(sample: Sample) -> tuple[Problem, ...]:
            try:
                *images, parts = render_sample(sample, *load_image(raw, sample))
            except PipelineError as error:
                return error.problems
            for folder, pixels in zip(folders, images, strict=True):
                write_png(folder / f"{sample.id}.png", pixels)
            if sample.id in sheet_ids:
                sheet[sample.id] = _sheet_panel(raw, parts)
            return ()

        results = progress_bar(thread_map(write, samples, threads), description, len(samples))
        problems = [problem for sample_problems in results for problem in sample_problems]
        if problems:
            raise PredictionError(problems)
    return sheet


def label_panels(panels: Mapping[str, RgbImage]) -> list[RgbImage]:
    """Write the identifier of each sample below its panel; return the panels sorted by identifier."""
    gap = ((0, _SHEET_GAP), (0, 0), (0, 0))
    labelled = [add_caption(panels[name], printable(name)) for name in sorted(panels)]
    return [np.pad(row, gap, constant_values=255) for row in labelled[:-1]] + labelled[-1:]


def load_image(raw: RawDataset, sample: Sample) -> tuple[RgbImage, NDArray[np.uint8] | None]:
    """Read a sample's image as 8-bit RGB, and its mask, None for an unlabelled sample.

    Raises
    ------
    RawDataError
        If image or mask cannot be read, or they differ in size.
    """
    pixels, valid, _ = raw.read_image(sample, "rgb")
    image = for_display(pixels)
    if not sample.labelled:
        return image, None
    # not `read_truth`, which would decode the image again
    truth = raw.ignore_gaps(raw.as_classes(raw.read_mask(sample)), valid)
    mismatch = size_problem(sample, sample.mask or sample.codes_file or "", truth, (image.shape[0], image.shape[1]))
    if mismatch is not None:
        raise RawDataError(mismatch)
    return image, truth


def stack(panels: Sequence[RgbImage]) -> RgbImage:
    """Stack images of any width vertically on a white background."""
    width = max(image.shape[1] for image in panels)
    padded = [np.pad(image, ((0, 6), (0, width - image.shape[1]), (0, 0)), constant_values=255) for image in panels]
    return np.vstack(padded)
