"""Which pictures the page shows, and how large, so that it stays within a budget of bytes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.core.counts import VOID
from pipeline.core.errors import PipelineError, PredictionError, Problem
from pipeline.evaluation.pictures import load_image
from pipeline.images.figures import Picture
from pipeline.images.png import read_levels
from pipeline.raw.dataset import RawDataset
from pipeline.raw.samples import Sample
from pipeline.report.sources import Entrant, Scores
from pipeline.report.thumbnails import as_uri, errors_of, overlaid, painted, photograph, reduced

BUDGET = 6_000_000
"""Bytes of encoded pictures; as text they take a third more."""

SIDES = (640, 448, 320, 224, 160)
"""Pixels of the longer side of a picture: the first at which the cases of all entrants fit."""

FEW = 100
"""A data set of at most so many test pictures has all of them on the page, where the budget allows it."""

KINDS = ("best", "median", "worst")
_OF_EACH = 3


@dataclass(frozen=True)
class Case:
    """A test picture of an entrant that is shown as its best, median or worst.

    Parameters
    ----------
    kind : {'best', 'median', 'worst'}
    id : str
    score : float
        What it was chosen by, see `chosen_by`.
    """

    kind: str
    id: str
    score: float


@dataclass
class Album:
    """Encoded pictures and where they belong.

    Parameters
    ----------
    images : list of str
        Each encoded picture as an address, once.
    shown : dict
        Entrant and identifier to the places of picture, mask, prediction and errors in `images`.
    side : int
        Pixels of the longer side that none of them exceeds.
    complete : set of str
        Data sets of which every test picture is there.
    """

    images: list[str] = field(default_factory=list)
    shown: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    side: int = SIDES[0]
    complete: set[str] = field(default_factory=set)


def chosen_by(several_classes: bool) -> str:
    """Return the score that cases are chosen by: F1 of two classes, mean IoU of several."""
    return "iou" if several_classes else "f1"


def main_region(scores: Sequence[Scores]) -> Scores | None:
    """Return the scores of the test pictures: inside the field of view where there is one."""
    test = {one.region: one for one in scores if one.split == "test"}
    return test.get("fov", test.get("full"))


def choose_cases(table: pd.DataFrame, by: str) -> list[Case]:
    """Choose the best, the median and the worst test pictures, at most three of each and none twice.

    Parameters
    ----------
    table : DataFrame
        ``id`` and the score `by`; pictures without one are left out.
    by : str

    Returns
    -------
    list of Case
        Best first; pictures with the same score in the order of their identifiers.
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


class Gallery:
    """Reads and encodes the pictures of a page.

    Parameters
    ----------
    datasets : mapping of str to RawDataset
        Of the entrants.
    inside : mapping of str to bool
        Data sets that are scored inside the field of view: what lies outside does not count.
    """

    def __init__(self, datasets: Mapping[str, RawDataset], inside: Mapping[str, bool]) -> None:
        self._raw = datasets
        self._inside = inside
        # of all splits: an entrant may be tested on others than the data set says, such as a fold
        self._samples = {
            name: {sample.id: sample for samples in dataset.splits.values() for sample in samples}
            for name, dataset in datasets.items()
        }

    def fill(self, cases: Sequence[tuple[Entrant, Sequence[str], Sequence[str]]], budget: int = BUDGET) -> Album:
        """Encode the cases as large as the budget allows, then the rest of small data sets where that fits, too.

        Parameters
        ----------
        cases : sequence of (Entrant, sequence of str, sequence of str)
            Whose pictures, which of them at least, and all of them. Where the cases do not fit at the smallest size,
            the later ones are left out.
        budget : int
            Bytes.

        Raises
        ------
        RawDataError, PredictionError
            Listing every picture that cannot be used.
        """
        wanted = [(entrant, name) for entrant, names, _ in cases for name in names]
        loaded = [*self._load(wanted)]
        album = Album()
        for side in SIDES:
            album, left = _encode(loaded, self._raw, Album(side=side), budget)
            if left >= 0:
                break
        else:
            album, left = _encode(loaded, self._raw, Album(side=SIDES[-1]), budget, stop=True)
            return album
        for dataset in dict.fromkeys(entrant.dataset for entrant, _, _ in cases):
            more = [(entrant, name) for entrant, _, names in cases if entrant.dataset == dataset for name in names]
            if len({name for _, name in more}) > FEW:
                continue
            with_all, after = _encode(self._load(more), self._raw, _copy(album), left)
            if after >= 0:
                album, left = with_all, after
                album.complete.add(dataset)
        return album

    def _load(self, wanted: Sequence[tuple[Entrant, str]]) -> "Iterator[_Loaded]":
        by_sample: dict[tuple[str, str], list[Entrant]] = {}
        for entrant, name in wanted:
            by_sample.setdefault((entrant.dataset, name), []).append(entrant)
        problems: list[Problem] = []
        for (dataset, name), entrants in by_sample.items():
            try:
                yield self._read(self._raw[dataset], self._sample(dataset, name), entrants)
            except PipelineError as error:
                problems += error.problems
        if problems:
            raise PredictionError(problems)

    def _sample(self, dataset: str, name: str) -> Sample:
        sample = self._samples[dataset].get(name)
        if sample is None:
            expected = "scores of samples that are there"
            remedy = "delete its scores and run `snakemake report`"
            raise PredictionError(f"data set {dataset!r}", f"no sample {name!r}", expected, remedy)
        return sample

    def _read(self, raw: RawDataset, sample: Sample, entrants: Sequence[Entrant]) -> "_Loaded":
        image, truth = load_image(raw, sample)
        height, width = image.shape[:2]
        if truth is None:
            truth = np.full((height, width), VOID, dtype=np.uint8)
        fov = raw.read_fov(sample) if self._inside.get(raw.name) else None
        counted = truth if fov is None else np.where(fov == 1, truth, np.uint8(VOID))
        predicted = {}
        for entrant in entrants:
            classes = read_levels(entrant.pictures / "mask" / f"{sample.id}.png", height, width)
            predicted[entrant.name] = classes if raw.multiclass else (classes > 0).astype(np.uint8)
        side = SIDES[0]
        return _Loaded(
            raw.name,
            sample.id,
            reduced(image, side),
            reduced(truth, side, classes=True),
            {
                name: (reduced(one, side, classes=True), reduced(errors_of(counted, one), side, classes=True))
                for name, one in predicted.items()
            },
        )


@dataclass(frozen=True)
class _Loaded:
    """A test picture, its mask, and of each entrant the prediction and the errors; reduced to the largest size."""

    dataset: str
    id: str
    image: Picture
    truth: NDArray[np.uint8]
    predicted: dict[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]]


def _copy(album: Album) -> Album:
    return Album([*album.images], dict(album.shown), album.side, {*album.complete})


def _encode(
    loaded: "Iterable[_Loaded]",
    raw: Mapping[str, RawDataset],
    album: Album,
    budget: int,
    stop: bool = False,
) -> tuple[Album, int]:
    """Add pictures to an album; return it, and what is left of the budget: negative as soon as it is exceeded.

    With `stop`, pictures that would exceed it are left out instead.
    """
    left = budget
    for one in loaded:
        colours, side = raw[one.dataset].colours, album.side
        known = next((album.shown[name, one.id][:2] for name in one.predicted if (name, one.id) in album.shown), None)
        encoded = [photograph(reduced(one.image, side)), painted(reduced(one.truth, side, classes=True), colours)]
        cost = 0 if known else sum(map(len, encoded))
        each = {
            name: [painted(reduced(said, side, classes=True), colours), overlaid(reduced(wrong, side, classes=True))]
            for name, (said, wrong) in one.predicted.items()
            if (name, one.id) not in album.shown
        }
        cost += sum(len(data) for both in each.values() for data in both)
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


def told(case: Case) -> dict[str, Any]:
    """Return a case as plain data for the page."""
    return {"kind": case.kind, "id": case.id, "score": f"{case.score:.3f}"}
