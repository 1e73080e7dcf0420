"""Collect what stands under ``results/`` and write the page about it."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipeline.core import paths
from pipeline.core.errors import Problem
from pipeline.core.files import write_text
from pipeline.core.progress import log
from pipeline.evaluation.metrics import METRICS
from pipeline.images.figures import FALSE_ALARM, HIT, MISS
from pipeline.raw.dataset import RawDataset, open_dataset
from pipeline.report import series, sources
from pipeline.report.board import build_board, choices, compared
from pipeline.report.cards import read_cards
from pipeline.report.comparisons import COLUMNS as COMPARED
from pipeline.report.gallery import Case, choose_cases, chosen_by, fill_album
from pipeline.report.page import assemble
from pipeline.report.recipes import ReportRecipe
from pipeline.report.runs import provenances, stage_times
from pipeline.report.tables import read_table
from pipeline.report.thumbnails import OTHER

_LEGEND = {"hit": HIT, "missed": MISS, "false alarm": FALSE_ALARM, "other class": OTHER}
_FILTERS = ("dataset", "split", "region", "class", "averaging")


def build_report(
    recipe: ReportRecipe,
    *,
    leaderboard: Path,
    output: Path,
    intervals: Sequence[Path] = (),
    comparisons: Path | None = None,
) -> None:
    """Write one HTML file about all data sets, experiments and scores.

    What it shows it finds by `pipeline.core.paths`, for every method of the leaderboard and every experiment; what is
    not there, such as the learning curve of a baseline, is left out. The same files give the same bytes, but for the
    sections on times and on how results were made.

    Parameters
    ----------
    recipe : ReportRecipe
    leaderboard : Path
        The table of all scores.
    output : Path
        The page. Links in it lead from its folder to panels and tables.
    intervals : sequence of Path
        Tables of confidence intervals, see `pipeline.report.sources.read_intervals`.
    comparisons : Path, optional
        Table of paired comparisons, see `pipeline.report.comparisons.COLUMNS`.

    Raises
    ------
    PredictionError, RawDataError, OutputError
        Listing everything that is damaged.
    """
    table = read_table(leaderboard)
    reader = sources.Reader()
    methods = sources.find_methods(table, recipe.experiments)
    averaged = [one.name for one in methods if one.kind == sources.DERIVED and not one.scored]
    tested = reader.required(comparisons, COMPARED) if comparisons is not None else None
    raw = {name: open_dataset(name, source) for name, source in recipe.datasets.items()}
    scored, matrices = _scores(reader, methods, raw)
    images = {
        (methods[index].name, one.split): "\n".join(sorted(map(str, one.table["id"])))
        for index, scores in scored.items()
        for one in scores
    }
    board = build_board(table, sources.read_intervals(reader, intervals), images)
    thresholds = {
        row["experiment"]: float(row["threshold"]) for row in table.to_dict("records") if row.get("threshold")
    }
    data: dict[str, Any] = {
        "learning": series.learning(reader, methods),
        "curves": series.curves(reader, methods, thresholds),
        "images": series.images([(index, methods[index], scores) for index, scores in scored.items()]),
        "confusions": matrices,
        "scores": {name: METRICS[name].label for name in sources.SHOWN},
    }
    times = stage_times(reader, {*recipe.datasets, *(method.name for method in methods)}, averaged)
    made = provenances(reader, methods)
    reader.check()

    cases = _cases(methods, scored, raw)
    inside = {methods[index].dataset for index, (main, _) in cases.items() if main.region == "fov"}
    wanted = [(methods[index], [case.id for case in chosen], main.ids) for index, (main, chosen) in cases.items()]
    album = fill_album(wanted, raw, inside)
    top = output.parent
    data["methods"] = [_method(method, raw[method.dataset], top) for method in methods]
    data["album"] = [[album.shown[key] for key in album.shown if key[0] == one.name] for one in methods]
    data["shown"] = [[key[1] for key in album.shown if key[0] == one.name] for one in methods]
    incomplete = {method.dataset for method, _, _ in wanted} - album.complete
    page = assemble(
        data=data,
        images=album.images,
        board=board,
        filters={name: choices(board.rows, name) for name in _FILTERS},
        comparisons=compared(tested),
        galleries=[
            _gallery(index, methods[index], raw[methods[index].dataset], main, chosen)
            for index, (main, chosen) in cases.items()
        ],
        album={"side": album.side, "complete": sorted(album.complete), "rest": sorted(incomplete)},
        cards=read_cards([*recipe.datasets]),
        times=times,
        provenances=made,
        methods=methods,
        colours={name: _hex(colour) for name, colour in _LEGEND.items()},
        links=[(path.name, _link(path, top)) for path in (leaderboard, comparisons) if path is not None],
        synthetic=sorted(name for name, dataset in raw.items() if dataset.synthetic),
    )
    write_text(output, page)
    log(f"{output}: {len(methods)} methods, {len(album.images)} images, {len(page.encode()) / 1e6:.1f} MB")


def _hex(colour: tuple[int, int, int]) -> str:
    return f"#{bytes(colour).hex()}"


def _scores(
    reader: sources.Reader, methods: Sequence[sources.Method], raw: Mapping[str, RawDataset]
) -> tuple[dict[int, list[sources.Scores]], list[dict[str, Any]]]:
    """Read the scores of single images by the place of who has them, and all confusion matrices."""
    scored: dict[int, list[sources.Scores]] = {}
    matrices: list[dict[str, Any]] = []
    for index, method in enumerate(methods):
        if method.dataset not in raw:
            found, expected = f"scores on a data set {method.dataset!r}", f"one of {', '.join(raw)}"
            problem = Problem(str(paths.metrics(method.name)), found, expected, "run `python -m pipeline clean`")
            reader.problems.append(problem)
        elif method.scored:
            table = sources.read_images(reader, method.name)
            if table is not None:
                scored[index] = sources.image_scores(table, raw[method.dataset].classes[0])
            about = {"method": index, "dataset": method.dataset}
            matrices += [{**about, **one} for one in sources.confusions(reader, method.name, table)]
    return scored, matrices


def _cases(
    methods: Sequence[sources.Method], scored: Mapping[int, Sequence[sources.Scores]], raw: Mapping[str, RawDataset]
) -> dict[int, tuple[sources.Scores, list[Case]]]:
    """Choose cases of every method that has masks of test images to show; its scores of test images beside them."""
    found = {}
    for index, scores in scored.items():
        method, main = methods[index], sources.main_region(scores)
        if main is not None and (method.images / "mask").is_dir():
            found[index] = (main, choose_cases(main.table, chosen_by(raw[method.dataset].multiclass)))
    return found


def _method(method: sources.Method, dataset: RawDataset, top: Path) -> dict[str, Any]:
    panels = method.images / "panel"
    return {
        "name": method.name,
        "dataset": method.dataset,
        "kind": method.kind,
        "several": dataset.multiclass,
        "panels": _link(panels, top) if panels.is_dir() else None,
    }


def _gallery(
    index: int, method: sources.Method, dataset: RawDataset, main: sources.Scores, cases: Sequence[Case]
) -> dict[str, Any]:
    """Say what the gallery of a method shows."""
    by = {"f1": "F1", "iou": "mean IoU over the foreground classes"}[chosen_by(dataset.multiclass)]
    region = {"fov": "inside the field of view", "full": "whole image"}[main.region]
    legend = [(name, _hex(colour)) for name, colour in zip(dataset.classes, dataset.colours, strict=True)]
    return {
        "index": index,
        "name": method.name,
        "dataset": method.dataset,
        "by": f"{by}, {region}",
        "cases": [{"kind": case.kind, "id": case.id, "score": f"{case.score:.3f}"} for case in cases],
        "classes": legend if dataset.multiclass else [],
    }


def _link(path: Path, top: Path) -> str:
    """Return the address of a file from the folder of the page."""
    return quote(os.path.relpath(path, top).replace(os.sep, "/"))
