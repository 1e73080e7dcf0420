"""Select the images of the report and their size, within a budget of bytes."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import zip_longest

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.core.counts import VOID
from pipeline.core.errors import PipelineError, PredictionError, Problem
from pipeline.evaluation.renderings import load_image
from pipeline.images.downscale import downscale
from pipeline.images.figures import RgbImage
from pipeline.images.png import read_levels
from pipeline.raw.dataset import RawDataset
from pipeline.raw.samples import Sample
from pipeline.report.sources import Method
from pipeline.report.thumbnails import encode_classes, encode_errors, encode_image, error_kinds, to_base64

BUDGET = 5_000_000
"""Maximum bytes of encoded images; in base64 they take a third more."""

SIDES = (640, 448, 320, 224, 160)
"""Pixels of the longer side of an image; the first size at which the cases of all methods fit is used."""

KINDS = ("best", "median", "worst")
_CASES_PER_KIND = 3


@dataclass(frozen=True)
class Case:
    """A test image shown as one of the best, median or worst of a method, and its score."""

    kind: str
    id: str
    score: float


@dataclass(frozen=True)
class MethodImages:
    """The test images of a method: the identifiers of its cases, and of all its test images, the worst first."""

    method: Method
    case_ids: Sequence[str]
    test_ids: Sequence[str]


@dataclass
class Album:
    """Encoded images, and which of them belong to each method and sample.

    Parameters
    ----------
    images : list of str
        Each encoded image once, in base64.
    layers : dict
        Method and identifier to the indices of image, mask, prediction and errors in `images`.
    side : int
        Maximum pixels of the longer side.
    """

    images: list[str] = field(default_factory=list)
    layers: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    side: int = SIDES[0]


def case_score(multiclass: bool) -> str:
    """Return the score that cases are selected by: F1, or mean IoU with several foreground classes."""
    return "iou" if multiclass else "f1"


def choose_cases(table: pd.DataFrame, score: str) -> list[Case]:
    """Select the best, the median and the worst test images, at most three of each and none twice.

    Parameters
    ----------
    table : DataFrame
        ``id``, ``share`` (of foreground) and the column `score`; images without a score are left out.
    score : str

    Returns
    -------
    list of Case
        Best first. Of images with equal scores, those with foreground come first, then the order of identifiers. The
        best have foreground, if there are enough above the median: an empty mask predicted as empty shows nothing.
    """
    scored = table.dropna(subset=[score]).assign(empty=table["share"] == 0)
    scored = scored.sort_values([score, "empty", "id"], ascending=[False, True, True])
    ids, values = scored["id"].tolist(), scored[score].tolist()
    count = len(ids)
    per_kind = min(_CASES_PER_KIND, count // len(KINDS))
    median_start = (count - per_kind) // 2
    with_foreground = [index for index, empty in enumerate(scored["empty"][:median_start]) if not empty]
    ranges: dict[str, Sequence[int]] = {
        "best": with_foreground[:per_kind] if len(with_foreground) >= per_kind else range(per_kind),
        "median": range(median_start, median_start + per_kind),
        "worst": range(count - per_kind, count),
    }
    if not per_kind:
        ranges = {"best": range(min(1, count)), "worst": range(1, count)}
    return [Case(kind, ids[index], float(values[index])) for kind, indices in ranges.items() for index in indices]


def fill_album(
    methods: Sequence[MethodImages],
    raw: Mapping[str, RawDataset],
    fov_datasets: Collection[str],
) -> Album:
    """Encode the case images at the largest size in `SIDES` that fits in `BUDGET`.

    Then add the other test images, the worst first, while there is room; the room is divided among the data sets.

    Parameters
    ----------
    methods : sequence of MethodImages
        If the cases do not fit at the smallest size, the last ones are left out.
    raw : mapping of str to RawDataset
        The data sets, by name.
    fov_datasets : collection of str
        Data sets that are scored inside the field of view; pixels outside do not count.

    Raises
    ------
    RawDataError, PredictionError
        Listing every image that cannot be used.
    """
    # of all splits: a method may be tested on other samples than the test split, such as a fold
    samples = {
        dataset: {sample.id: sample for split in raw[dataset].splits.values() for sample in split}
        for dataset in dict.fromkeys(images.method.dataset for images in methods)
    }

    problems: list[Problem] = []

    def load(requests: Sequence[tuple[Method, str]]) -> Iterator[_LoadedSample]:
        by_sample: dict[tuple[str, str], list[Method]] = {}
        for method, sample_id in requests:
            by_sample.setdefault((method.dataset, sample_id), []).append(method)
        for (dataset, sample_id), owners in by_sample.items():
            try:
                if sample_id not in samples[dataset]:
                    expected = "scores of samples of the data set"
                    owner_names = ", ".join(owner.name for owner in owners)
                    remedy = f"score {owner_names} again (`snakemake metrics`)"
                    raise PredictionError(f"data set {dataset!r}", f"no sample {sample_id!r}", expected, remedy)
                yield _load_sample(raw[dataset], samples[dataset][sample_id], owners, dataset in fov_datasets)
            except PipelineError as error:
                problems.extend(error.problems)

    loaded = [*load([(images.method, sample_id) for images in methods for sample_id in images.case_ids])]
    for side in SIDES:
        album, remaining = _encode(loaded, raw, Album(side=side), BUDGET)
        if remaining >= 0:
            break
    else:
        album, remaining = _encode(loaded, raw, Album(side=SIDES[-1]), BUDGET, skip_excess=True)[0], 0
    by_dataset = {name: [images for images in methods if images.method.dataset == name] for name in samples}
    by_size = sorted(by_dataset.items(), key=lambda pair: max(len(images.test_ids) for images in pair[1]))
    for position, (_, owners) in enumerate(by_size):
        share = remaining // (len(by_size) - position)
        ranked = zip_longest(*([(images.method, sample_id) for sample_id in images.test_ids] for images in owners))
        in_turn = dict.fromkeys(request[1] for turn in ranked for request in turn if request is not None)
        tested = {images.method: {*images.test_ids} for images in owners}
        requests = [(method, sample_id) for sample_id in in_turn for method, ids in tested.items() if sample_id in ids]
        album, unused = _encode(load(requests), raw, album, share)
        remaining -= share - max(0, unused)
    if problems:
        raise PredictionError(problems)
    return album


@dataclass(frozen=True)
class _LoadedSample:
    """A test image, its mask, and the prediction and errors of each method, at the largest size in `SIDES`."""

    dataset: str
    id: str
    image: RgbImage
    truth: NDArray[np.uint8]
    predicted: dict[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]]


def _load_sample(raw: RawDataset, sample: Sample, methods: Sequence[Method], inside_fov: bool) -> _LoadedSample:
    image, truth = load_image(raw, sample)
    height, width = image.shape[:2]
    if truth is None:
        truth = np.full((height, width), VOID, dtype=np.uint8)
    fov = raw.read_fov(sample) if inside_fov else None
    counted = truth if fov is None else np.where(fov == 1, truth, np.uint8(VOID))
    shrink = partial(downscale, side=SIDES[0], classes=True)
    predicted = {}
    for method in methods:
        classes = read_levels(method.test_predictions / "mask" / f"{sample.id}.png", height, width)
        classes = classes if raw.multiclass else (classes > 0).astype(np.uint8)
        errors = error_kinds(counted, classes, background=raw.has_background)
        predicted[method.name] = shrink(classes), shrink(errors)
    return _LoadedSample(raw.name, sample.id, downscale(image, SIDES[0]), shrink(truth), predicted)


def _encode(
    samples: Iterable[_LoadedSample],
    raw: Mapping[str, RawDataset],
    album: Album,
    budget: int,
    skip_excess: bool = False,
) -> tuple[Album, int]:
    """Add images to an album; return it and the remaining bytes of the budget, negative if it was exceeded.

    With `skip_excess`, images that would exceed the budget are left out instead.
    """
    remaining = budget
    shrink = partial(downscale, side=album.side, classes=True)
    for sample in samples:
        colours = raw[sample.dataset].colours
        shared_layers = next(
            (album.layers[name, sample.id][:2] for name in sample.predicted if (name, sample.id) in album.layers), None
        )
        shared = [encode_image(downscale(sample.image, album.side)), encode_classes(shrink(sample.truth), colours)]
        by_method = {
            name: [encode_classes(shrink(classes), colours), encode_errors(shrink(errors))]
            for name, (classes, errors) in sample.predicted.items()
            if (name, sample.id) not in album.layers
        }
        cost = (0 if shared_layers else sum(map(len, shared))) + sum(
            len(data) for layers in by_method.values() for data in layers
        )
        if cost > remaining and skip_excess:
            continue
        remaining -= cost
        if remaining < 0:
            return album, remaining
        shared_indices = shared_layers or _append(album, shared)
        for name, layers in by_method.items():
            album.layers[name, sample.id] = [*shared_indices, *_append(album, layers)]
    return album, remaining


def _append(album: Album, encoded: Sequence[bytes]) -> list[int]:
    start = len(album.images)
    album.images += map(to_base64, encoded)
    return [*range(start, len(album.images))]
