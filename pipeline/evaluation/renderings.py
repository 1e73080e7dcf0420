"""The images of a split: mask, overlay, three panels side by side, and a sheet of some of them."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.counts import VOID, cut_level
from pipeline.core.errors import PipelineError, PredictionError, Problem, RawDataError
from pipeline.core.files import atomic_file, atomic_folder
from pipeline.core.progress import progress_bar
from pipeline.evaluation.recipes import RenderRecipe
from pipeline.evaluation.thresholds import read_threshold
from pipeline.images.captions import below
from pipeline.images.figures import VOID_GREY, RgbImage, for_display, overlay, panel
from pipeline.images.png import read_levels, write_png
from pipeline.raw.check.text import printable
from pipeline.raw.dataset import RawDataset, open_dataset, require_samples, same_size
from pipeline.raw.decode.image import read_image
from pipeline.raw.samples import Sample

_SHEET_ROWS = 4  # panels on the sheet, evenly spaced over the samples
_SHEET_GAP = 10  # pixels below a name, so that it belongs to the panel above it

Rendered = tuple[NDArray[np.uint8], RgbImage, RgbImage, RgbImage]
"""A prediction as it is stored, its overlay, its panel, and the panel as it stands on the sheet."""


def render(
    recipe: RenderRecipe,
    *,
    experiment: str,
    predictions: Path,
    threshold: Path,
    output: Path,
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

    Raises
    ------
    RawDataError, PredictionError, OutputError
        Listing every image that cannot be used.
    """
    raw = open_dataset(recipe.dataset, recipe.source)
    samples = require_samples(raw, recipe.split)
    cut = cut_level(read_threshold(threshold).value)

    def draw(sample: Sample, image: RgbImage, truth: NDArray[np.uint8] | None) -> Rendered:
        predicted = read_levels(predictions / f"{sample.id}.png", image.shape[0], image.shape[1]) > cut
        mask = predicted * np.uint8(255)
        if truth is None:
            painted, middle = overlay(image, predicted, None), None
        else:
            # a void pixel is neither right nor wrong, and stays grey
            painted = overlay(image, predicted & (truth != VOID), truth == 1)
            middle = _grey(np.where(truth == VOID, np.uint8(VOID_GREY), (truth == 1) * np.uint8(255)))
        whole = three_panels(raw, image, middle, _grey(mask))
        return mask, painted, whole, whole

    kinds, what = ("mask", "overlay", "panel"), f"{experiment}: {recipe.split} images"
    sheet = draw_samples(raw, samples, what, output, kinds, draw)
    with atomic_file(output / "sheet.png") as temporary:
        write_png(temporary, stack(named_rows(sheet)))


def _grey(plane: NDArray[np.uint8]) -> RgbImage:
    return np.repeat(plane[:, :, None], 3, axis=2)


def three_panels(raw: RawDataset, image: RgbImage, mask: RgbImage | None, predicted: RgbImage) -> RgbImage:
    """Set image, mask and prediction side by side; without a mask there is a grey field in its place."""
    middle = ("no mask", np.full_like(image, 200)) if mask is None else ("mask", mask)
    return panel([("image", image), middle, ("prediction", predicted)], "synthetic data" if raw.synthetic else "")


def draw_samples(
    raw: RawDataset,
    samples: Sequence[Sample],
    what: str,
    output: Path,
    kinds: Sequence[str],
    draw: Callable[[Sample, RgbImage, NDArray[np.uint8] | None], Rendered],
) -> dict[str, RgbImage]:
    """Draw all samples, two at a time, and write what `draw` gives of each, less the last, to folders of those kinds.

    Returns
    -------
    dict of str to (H, W, 3) array of uint8
        By identifier, the last of a few samples, evenly spaced.

    Raises
    ------
    PredictionError
        Listing every image that cannot be used.
    """
    on_sheet = {samples[round(i)].id for i in np.linspace(0, len(samples) - 1, min(_SHEET_ROWS, len(samples)))}
    sheet: dict[str, RgbImage] = {}
    problems: list[Problem] = []
    with ExitStack() as opened, ThreadPoolExecutor(max_workers=2) as pool:
        folders = [opened.enter_context(atomic_folder(output / kind)) for kind in kinds]

        def write(sample: Sample) -> None:
            *images, row = draw(sample, *load_image(raw, sample))
            for folder, pixels in zip(folders, images, strict=True):
                write_png(folder / f"{sample.id}.png", pixels)
            if sample.id in on_sheet:
                sheet[sample.id] = row

        futures = [pool.submit(write, sample) for sample in samples]
        for future in progress_bar(futures, what, len(futures)):
            try:
                future.result()
            except PipelineError as error:
                problems += error.problems
        if problems:
            raise PredictionError(problems)
    return sheet


def named_rows(panels: Mapping[str, RgbImage]) -> list[RgbImage]:
    """Write the identifier of each sample under its panel, in their order."""
    gap = ((0, _SHEET_GAP), (0, 0), (0, 0))
    named = [below(panels[name], str(printable(name))) for name in sorted(panels)]
    return [np.pad(row, gap, constant_values=255) for row in named[:-1]] + named[-1:]


def load_image(raw: RawDataset, sample: Sample) -> tuple[RgbImage, NDArray[np.uint8] | None]:
    """Read a sample's image, as 8-bit RGB, and its mask where it has one.

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


def stack(panels: Sequence[RgbImage]) -> RgbImage:
    """Set images of any width one under the other, on white."""
    width = max(one.shape[1] for one in panels)
    padded = [np.pad(one, ((0, 6), (0, width - one.shape[1]), (0, 0)), constant_values=255) for one in panels]
    return np.vstack(padded)
