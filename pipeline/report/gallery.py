"""Which images the page shows, and how large, so that it stays within a budget of bytes."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.core.counts import VOID
from pipeline.core.errors import PipelineError, PredictionError, Problem
from pipeline.evaluation.renderings import load_image
from pipeline.images.figures import RgbImage
from pipeline.images.png import read_levels
from pipeline.raw.dataset import RawDataset
from pipeline.raw.samples import Sample
from pipeline.report.sources import Method
from pipeline.report.thumbnails import as_uri, errors_of, overlaid, painted, photograph, reduced

BUDGET = 6_000_000
"""Bytes of encoded images; as text they take a third more."""

SIDES = (640, 448, 320, 224, 160)
"""Pixels of the longer side of an image: the first at which the cases of all methods fit."""

FEW = 100
"""A data set of at most so many test images has all of them on the page, where the budget allows it."""

KINDS = ("best", "median", "worst")
_OF_EACH = 3


@dataclass(frozen=True)
class Case:
    """A test image that is shown as the best, median or worst of a method, and the score that it was chosen by."""

    kind: str
    id: str
    score: float


@dataclass
class Album:
    """Encoded images and where they belong.

    Parameters
    ----------
    images : list of str
        Each encoded image as an address, once.
    shown : dict
        Method and identifier to the places of image, mask, prediction and errors in `images`.
    side : int
        Pixels of the longer side that none of them exceeds.
    complete : set of str
        Data sets of which every test image is there.
    """

    images: list[str] = field(default_factory=list)
    shown: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    side: int = SIDES[0]
    complete: set[str] = field(default_factory=set)


def chosen_by(several_classes: bool) -> str:
    """Return the score that cases are chosen by: F1 of two classes, mean IoU of several."""
    return "iou" if several_classes else "f1"


def choose_cases(table: pd.DataFrame, by: str) -> list[Case]:
    """Choose the best, the median and the worst test images, at most three of each and none twice.

    Parameters
    ----------
    table : DataFrame
        ``id`` and the score `by`; images without one are left out.
    by : str

    Returns
    -------
    list of Case
        Best first; images with the same score in the order of their identifiers.
    """
    scored = table[["id", by]].dropna().sort_values([by, "id"], ascending=[False, True])
    ids, values = scored["id"].tolist(), scored[by].tolist()
    count = len(ids)
    each = min(_OF_EACH, count // len(KINDS))
    middle = (count - each) // 2
    places = {"best": range(each), "median": range(middle, middle + each), "worst": range(count - each, count)}
    if not each:
        places = {"best": range(min(1, count)), "worst": range(1, count)}
    return [Case(kind, ids[index], float(values[index])) for kind, span in places.items() for index in span]


def fill_album(
    cases: Sequence[tuple[Method, Sequence[str], Sequence[str]]],
    raw: Mapping[str, RawDataset],
    inside: Collection[str],
) -> Album:
    """Encode cases as large as `BUDGET` allows, then all other test images of small data sets where they fit, too.

    Parameters
    ----------
    cases : sequence of (Method, sequence of str, sequence of str)
        Whose images, which of them at least, and all of them. Where the cases do not fit at the smallest size, the
        later ones are left out.
    raw : mapping of str to RawDataset
        Their data sets.
    inside : collection of str
        Data sets that are scored inside the field of view: what lies outside does not count.

    Raises
    ------
    RawDataError, PredictionError
        Listing every image that cannot be used.
    """
    # of all splits: a method may be tested on others than the data set says, such as a fold
    samples = {
        method.dataset: {one.id: one for split in raw[method.dataset].splits.values() for one in split}
        for method, _, _ in cases
    }

    def load(wanted: Sequence[tuple[Method, str]]) -> Iterator[_Loaded]:
        by_sample: dict[tuple[str, str], list[Method]] = {}
        for method, name in wanted:
            by_sample.setdefault((method.dataset, name), []).append(method)
        problems: list[Problem] = []
        for (dataset, name), methods in by_sample.items():
            try:
                if name not in samples[dataset]:
                    expected, remedy = (
                        "scores of samples that are there",
                        "delete its scores and run `snakemake report`",
                    )
                    raise PredictionError(f"data set {dataset!r}", f"no sample {name!r}", expected, remedy)
                yield _load(raw[dataset], samples[dataset][name], methods, dataset in inside)
            except PipelineError as error:
                problems += error.problems
        if problems:
            raise PredictionError(problems)

    loaded = [*load([(method, name) for method, names, _ in cases for name in names])]
    for side in SIDES:
        album, left = _encode(loaded, raw, Album(side=side), BUDGET)
        if left >= 0:
            break
    else:
        return _encode(loaded, raw, Album(side=SIDES[-1]), BUDGET, stop=True)[0]
    for dataset in samples:
        more = [(method, name) for method, _, names in cases if method.dataset == dataset for name in names]
        if len({name for _, name in more}) <= FEW:
            with_all, after = _encode(load(more), raw, deepcopy(album), left)
            if after >= 0:
                album, left = with_all, after
                album.complete.add(dataset)
    return album


@dataclass(frozen=True)
class _Loaded:
    """A test image, its mask, and of each method the prediction and the errors; reduced to the largest size."""

    dataset: str
    id: str
    image: RgbImage
    truth: NDArray[np.uint8]
    predicted: dict[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]]


def _load(raw: RawDataset, sample: Sample, methods: Sequence[Method], inside: bool) -> _Loaded:
    image, truth = load_image(raw, sample)
    height, width = image.shape[:2]
    if truth is None:
        truth = np.full((height, width), VOID, dtype=np.uint8)
    fov = raw.read_fov(sample) if inside else None
    counted = truth if fov is None else np.where(fov == 1, truth, np.uint8(VOID))
    shrink = partial(reduced, side=SIDES[0], classes=True)
    predicted = {}
    for method in methods:
        classes = read_levels(method.images / "mask" / f"{sample.id}.png", height, width)
        classes = classes if raw.multiclass else (classes > 0).astype(np.uint8)
        predicted[method.name] = shrink(classes), shrink(errors_of(counted, classes))
    return _Loaded(raw.name, sample.id, reduced(image, SIDES[0]), shrink(truth), predicted)


def _encode(
    loaded: Iterable[_Loaded], raw: Mapping[str, RawDataset], album: Album, budget: int, stop: bool = False
) -> tuple[Album, int]:
    """Add images to an album; return it, and what is left of the budget: negative as soon as it is exceeded.

    With `stop`, images that would exceed it are left out instead.
    """
    left = budget
    shrink = partial(reduced, side=album.side, classes=True)
    for one in loaded:
        colours = raw[one.dataset].colours
        known = next((album.shown[name, one.id][:2] for name in one.predicted if (name, one.id) in album.shown), None)
        encoded = [photograph(reduced(one.image, album.side)), painted(shrink(one.truth), colours)]
        each = {
            name: [painted(shrink(classes), colours), overlaid(shrink(wrong))]
            for name, (classes, wrong) in one.predicted.items()
            if (name, one.id) not in album.shown
        }
        cost = (0 if known else sum(map(len, encoded))) + sum(len(data) for both in each.values() for data in both)
        if cost > left and stop:
            continue
        left -= cost
        if left < 0:
            return album, left
        places = known or _add(album, encoded)
        for name, both in each.items():
            album.shown[name, one.id] = [*places, *_add(album, both)]
    return album, left


def _add(album: Album, encoded: Sequence[bytes]) -> list[int]:
    start = len(album.images)
    album.images += map(as_uri, encoded)
    return [*range(start, len(album.images))]
