"""Predict with a bundle, also one that somebody else wrote, by the functions that its own program has."""

import time
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.bundle import runner
from pipeline.bundle.read import unpacked
from pipeline.core.errors import ConfigError, Problem, RawDataError, join_first, plural
from pipeline.core.files import atomic_folder, require_short
from pipeline.core.progress import log, progress_bar
from pipeline.core.tables import write_table
from pipeline.images.png import write_png
from pipeline.prediction.listing import list_images
from pipeline.prediction.new_images import require_replaceable
from pipeline.raw.dataset import RawDataset
from pipeline.raw.inspect import read_sample


def predict_images(*, bundle: Path, images: Path, output: Path, threads: int, skip_unreadable: bool = False) -> None:
    """Predict images of any size by onnxruntime in fp32, as the program in the bundle does.

    Parameters
    ----------
    bundle : Path
        Zip file.
    images : Path
        An image, or a folder that is searched recursively.
    output : Path
        Folder for ``probability/``, ``mask/`` (0 and 255; class indices with several classes) and ``timing.csv``, all
        at native size. It replaces only a folder that an earlier prediction of images wrote.
    threads : int
    skip_unreadable : bool
        Skip files that cannot be used, with a log line for each, instead of raising an error.

    Raises
    ------
    BundleError, OutputError
    RawDataError
        Lists every file that cannot be used.
    """
    files = list_images(images, output)
    require_replaceable(output, images)
    require_short(output)
    problems, rows = [], []
    with unpacked(bundle) as (folder, info), atomic_folder(output) as results:
        network = runner.Bundle(folder, threads)
        log(f"{plural(len(files), 'image')} on the CPU, fp32, {threads} threads, with {bundle}")
        if info.output.threshold is not None:
            log(f"threshold {info.output.threshold:g} ({info.output.threshold_source})")
        for file in progress_bar(files, "images", len(files)):
            started = time.perf_counter()
            try:
                levels, mask = network.predict(file.path)
            except runner.UnusableError as error:
                problems.append(_problem(file.path, error))
                continue
            runner.write(results / "mask" / f"{file.id}.png", mask)
            planes = [""] if len(levels) == 1 else [name.replace("/", "-") for name in info.output.classes]
            for name, plane in zip(planes, levels, strict=True):
                runner.write(results / "probability" / name / f"{file.id}.png", plane)
            height, width = mask.shape
            seconds = time.perf_counter() - started
            rows.append({"id": file.id, "height": height, "width": width, "total_seconds": seconds})
        if problems and (not skip_unreadable or not rows):
            raise RawDataError(problems)
        for problem in problems:
            log(f"skipped: {problem}")
        write_table(results / "timing.csv", pd.DataFrame(rows))
    log(f"{output}: {plural(len(rows), 'image')}")


def predict_samples(*, bundle: Path, raw: RawDataset, split: str, output: Path, threads: int) -> float | None:
    """Predict the samples of a split from their raw images.

    Parameters
    ----------
    bundle : Path
        Zip file.
    raw : RawDataset
    split : str
    output : Path
        Folder to create with a file ``<id>.png`` for each sample: levels, or class indices with several classes. Levels
        are 0 outside fields of view for a network that was trained only inside of them.
    threads : int

    Returns
    -------
    float or None
        The threshold of the bundle; None with several classes.

    Raises
    ------
    BundleError
    ConfigError
        If the classes of the bundle are not those of the data set.
    RawDataError
        Lists every image that cannot be used.
    """
    samples, problems = raw.splits[split], []
    with unpacked(bundle) as (folder, info), atomic_folder(output) as results:
        _require_classes(bundle, info.output.classes, raw)
        network = runner.Bundle(folder, threads)
        for sample in progress_bar(samples, f"{bundle.name}: {split} samples", len(samples)):
            if sample.page is not None:
                problems.append(_problem(Path(sample.image), runner.UnusableError("a page of a stack")))
                continue
            try:
                levels, mask = network.predict(Path(sample.image))
            except runner.UnusableError as error:
                problems.append(_problem(Path(sample.image), error))
                continue
            if len(levels) > 1:
                write_png(results / f"{sample.id}.png", mask)
                continue
            fov = read_sample(raw, sample, info.input.channels).fov if info.output.fov == "inside" else None
            write_png(
                results / f"{sample.id}.png", levels[0] if fov is None else levels[0] * (fov > 0).astype(np.uint8)
            )
        if problems:
            raise RawDataError(problems)
    return info.output.threshold


def _problem(path: Path, error: runner.UnusableError) -> Problem:
    expected = "an image that the program of the bundle can predict"
    return Problem(str(path), str(error), expected, "convert the image, or leave it out with --skip-unreadable")


def _require_classes(bundle: Path, classes: tuple[str, ...], raw: RawDataset) -> None:
    expected = raw.classes
    if len(classes) != len(expected) or (len(classes) > 2 and tuple(classes) != tuple(expected)):
        found = f"the classes {join_first(classes)}"
        raise ConfigError(
            str(bundle), found, f"those of the data set {raw.name}: {join_first(expected)}", "name another"
        )
