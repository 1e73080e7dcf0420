"""Pictures for people: mask, overlay, three panels side by side, and a sheet of some of them."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.counts import cut_level
from pipeline.errors import PipelineError, PredictionError, Problem
from pipeline.evaluation.thresholds import read_threshold
from pipeline.files import atomic_file, atomic_folder
from pipeline.png import read_levels, write_png
from pipeline.progress import track
from pipeline.raw.dataset import RawDataset, open_dataset, require_samples
from pipeline.raw.decode import full_range, read_image
from pipeline.raw.samples import Sample

Picture = NDArray[np.uint8]

# Okabe, Ito: Color Universal Design (2008): told apart with every kind of colour vision
HIT = (0, 158, 115)  # bluish green
MISS = (230, 159, 0)  # orange
FALSE_ALARM = (86, 180, 233)  # sky blue
_STRENGTH = 0.75  # of a colour over the grey picture
_PANEL_HEIGHT = 256  # smaller pictures are enlarged to this
_SHEET_ROWS = 4  # panels on the sheet, evenly spaced over the samples
_STRIP = 26  # height of a caption


def overlay(image: Picture, predicted: NDArray[np.bool_], true: NDArray[np.bool_] | None) -> Picture:
    """Paint hits, misses and false alarms over the dimmed grey picture.

    Parameters
    ----------
    image : (H, W, 3) array of uint8
    predicted, true : (H, W) array of bool
        Without `true` (an unlabelled sample) the whole prediction is painted as hits.

    Returns
    -------
    (H, W, 3) array of uint8
    """
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    painted = grey * 0.7
    true_ = predicted if true is None else true
    for where, colour in (
        (predicted & true_, HIT),
        (~predicted & true_, MISS),
        (predicted & ~true_, FALSE_ALARM),
    ):
        painted[where] = (1 - _STRENGTH) * painted[where] + _STRENGTH * np.array(colour)
    return np.asarray(np.rint(painted), dtype=np.uint8)


def panel(parts: Sequence[tuple[str, Picture]], note: str) -> Picture:
    """Set pictures side by side, each under its caption, with a note on the right.

    Parameters
    ----------
    parts : sequence of (caption, (H, W, 3) array of uint8)
        All of one size; enlarged by whole factors to at least 256 pixels of height.
    note : str
        Such as ``"drawn sample"``.
    """
    gap = 6
    columns = []
    for caption, pixels in parts:
        factor = max(1, -(-_PANEL_HEIGHT // pixels.shape[0]))
        large = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST)
        strip = np.full((_STRIP, large.shape[1], 3), 255, dtype=np.uint8)
        _write(strip, caption, 4)
        columns += [np.vstack([strip, large]), np.full((large.shape[0] + _STRIP, gap, 3), 255, dtype=np.uint8)]
    whole = np.hstack(columns[:-1])
    if note:
        width = cv2.getTextSize(note, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)[0][0]
        _write(whole[:_STRIP], note, whole.shape[1] - width - 4)
    return np.asarray(whole)


def _write(strip: Picture, text: str, left: int) -> None:
    cv2.putText(strip, text, (left, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (30, 30, 30), 1, cv2.LINE_AA)


def render(
    *,
    experiment: str,
    dataset: str,
    split: str,
    predictions: Path,
    threshold: Path,
    output: Path,
    source: Mapping[str, Any],
) -> None:
    """Write the folders ``mask``, ``overlay`` and ``panel`` and the file ``sheet.png`` of one split.

    Parameters
    ----------
    experiment, dataset, split : str
    predictions : Path
        Folder of probability PNGs.
    threshold : Path
        The file that `choose_threshold` wrote.
    output : Path
        Folder for the four.
    source : mapping
        Keyword arguments of `open_dataset`.

    Raises
    ------
    RawDataError, PredictionError, OutputError
        Listing every picture that cannot be used.
    """
    raw = open_dataset(dataset, **source)
    samples = require_samples(raw, split)
    cut = cut_level(read_threshold(threshold).value)
    on_sheet = {samples[round(i)].id for i in np.linspace(0, len(samples) - 1, min(_SHEET_ROWS, len(samples)))}
    note = "drawn sample data" if raw.drawn else ""
    problems: list[Problem] = []
    sheet: dict[str, Picture] = {}
    with (
        atomic_folder(output / "mask") as masks,
        atomic_folder(output / "overlay") as overlays,
        atomic_folder(output / "panel") as panels,
        ThreadPoolExecutor(max_workers=2) as pool,
    ):

        def draw(sample: Sample) -> None:
            image, predicted, true = _load(raw, sample, predictions, cut)
            write_png(masks / f"{sample.id}.png", predicted.astype(np.uint8) * np.uint8(255))
            write_png(overlays / f"{sample.id}.png", overlay(image, predicted, true))
            whole = panel(_three(image, predicted, true), note)
            write_png(panels / f"{sample.id}.png", whole)
            if sample.id in on_sheet:
                sheet[sample.id] = whole

        futures = [pool.submit(draw, sample) for sample in samples]
        for future in track(futures, f"{experiment}: {split} pictures", len(futures)):
            try:
                future.result()
            except PipelineError as error:
                problems += error.problems
        if problems:
            raise PredictionError(problems)
    with atomic_file(output / "sheet.png") as temporary:
        write_png(temporary, _stack([sheet[name] for name in sorted(sheet)]))


def _load(
    raw: RawDataset, sample: Sample, predictions: Path, cut: int
) -> tuple[Picture, NDArray[np.bool_], NDArray[np.bool_] | None]:
    image = _for_display(read_image(sample.image, "rgb"))
    levels = read_levels(predictions / f"{sample.id}.png", image.shape[0], image.shape[1])
    true = raw.read_foreground(sample) == 1 if sample.labelled else None
    return image, levels > cut, true


def _for_display(pixels: NDArray[Any]) -> Picture:
    """Bring 16-bit and float pictures to 0..255: the full range of the type, or from lowest to highest."""
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.uint16:
        return np.rint(pixels / full_range(pixels) * 255).astype(np.uint8)
    low, high = float(pixels.min()), float(pixels.max())
    return np.rint((pixels - low) / max(high - low, 1e-12) * 255).astype(np.uint8)


def _three(image: Picture, predicted: NDArray[np.bool_], true: NDArray[np.bool_] | None) -> list[tuple[str, Picture]]:
    def white(plane: NDArray[np.bool_]) -> Picture:
        return np.repeat((plane * np.uint8(255))[:, :, None], 3, axis=2).astype(np.uint8)

    middle = ("no mask", np.full_like(image, 200)) if true is None else ("mask", white(true))
    return [("image", image), middle, ("prediction", white(predicted))]


def _stack(panels: Sequence[Picture]) -> Picture:
    width = max(one.shape[1] for one in panels)
    padded = [np.pad(one, ((0, 6), (0, width - one.shape[1]), (0, 0)), constant_values=255) for one in panels]
    return np.vstack(padded)
