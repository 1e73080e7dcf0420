"""Collect what stands under ``results/`` and write the page about it."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipeline.core import paths
from pipeline.core.errors import Problem
from pipeline.core.files import write_text
from pipeline.core.progress import say
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

    What it shows it finds by `pipeline.core.paths`, for every entrant of the leaderboard and every experiment; what is
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
    entrants = sources.find_entrants(table, recipe.experiments)
    averaged = [one.name for one in entrants if one.kind == sources.DERIVED and not one.scored]
    tested = reader.required(comparisons, COMPARED) if comparisons is not None else None
    raw = {name: open_dataset(name, source) for name, source in recipe.datasets.items()}
    scored, matrices = _scores(reader, entrants, raw)
    images = {
        (entrants[index].name, one.split): "\n".join(sorted(map(str, one.table["id"])))
        for index, scores in scored.items()
        for one in scores
    }
    board = build_board(table, sources.read_intervals(reader, intervals), images)
    thresholds = {
        row["experiment"]: float(row["threshold"]) for row in table.to_dict("records") if row.get("threshold")
    }
    data: dict[str, Any] = {
        "learning": series.learning(reader, entrants),
        "curves": series.curves(reader, entrants, thresholds),
        "pictures": series.pictures([(index, entrants[index], scores) for index, scores in scored.items()]),
        "confusions": matrices,
        "scores": {name: METRICS[name].label for name in sources.SHOWN},
    }
    times = stage_times(reader, {*recipe.datasets, *(entrant.name for entrant in entrants)}, averaged)
    made = provenances(reader, entrants)
    reader.check()

    cases = _cases(entrants, scored, raw)
    inside = {entrants[index].dataset for index, (main, _) in cases.items() if main.region == "fov"}
    wanted = [(entrants[index], [case.id for case in chosen], main.ids) for index, (main, chosen) in cases.items()]
    album = fill_album(wanted, raw, inside)
    top = output.parent
    data["entrants"] = [_entrant(entrant, raw[entrant.dataset], top) for entrant in entrants]
    data["album"] = [[album.shown[key] for key in album.shown if key[0] == one.name] for one in entrants]
    data["shown"] = [[key[1] for key in album.shown if key[0] == one.name] for one in entrants]
    incomplete = {entrant.dataset for entrant, _, _ in wanted} - album.complete
    page = assemble(
        data=data,
        images=album.images,
        board=board,
        filters={name: choices(board.rows, name) for name in _FILTERS},
        comparisons=compared(tested),
        galleries=[
            _gallery(index, entrants[index], raw[entrants[index].dataset], main, chosen)
            for index, (main, chosen) in cases.items()
        ],
        album={"side": album.side, "complete": sorted(album.complete), "rest": sorted(incomplete)},
        cards=read_cards([*recipe.datasets]),
        times=times,
        provenances=made,
        entrants=entrants,
        colours={name: _hex(colour) for name, colour in _LEGEND.items()},
        links=[(path.name, _link(path, top)) for path in (leaderboard, comparisons) if path is not None],
        drawn=sorted(name for name, dataset in raw.items() if dataset.drawn),
    )
    write_text(output, page)
    say(f"{output}: {len(entrants)} entrants, {len(album.images)} pictures, {len(page.encode()) / 1e6:.1f} MB")


def _hex(colour: tuple[int, int, int]) -> str:
    return f"#{bytes(colour).hex()}"


def _scores(
    reader: sources.Reader, entrants: Sequence[sources.Entrant], raw: Mapping[str, RawDataset]
) -> tuple[dict[int, list[sources.Scores]], list[dict[str, Any]]]:
    """Read the scores of single images by the place of who has them, and all confusion matrices."""
    scored: dict[int, list[sources.Scores]] = {}
    matrices: list[dict[str, Any]] = []
    for index, entrant in enumerate(entrants):
        if entrant.dataset not in raw:
            found, expected = f"scores on a data set {entrant.dataset!r}", f"one of {', '.join(raw)}"
            problem = Problem(str(paths.metrics(entrant.name)), found, expected, "run `python -m pipeline clean`")
            reader.problems.append(problem)
        elif entrant.scored:
            table = sources.read_pictures(reader, entrant.name)
            if table is not None:
                scored[index] = sources.picture_scores(table, raw[entrant.dataset].classes[0])
            about = {"entrant": index, "dataset": entrant.dataset}
            matrices += [{**about, **one} for one in sources.confusions(reader, entrant.name, table)]
    return scored, matrices


def _cases(
    entrants: Sequence[sources.Entrant], scored: Mapping[int, Sequence[sources.Scores]], raw: Mapping[str, RawDataset]
) -> dict[int, tuple[sources.Scores, list[Case]]]:
    """Choose cases of every entrant that has masks of test images to show; its scores of test images beside them."""
    found = {}
    for index, scores in scored.items():
        entrant, main = entrants[index], sources.main_region(scores)
        if main is not None and (entrant.pictures / "mask").is_dir():
            found[index] = (main, choose_cases(main.table, chosen_by(raw[entrant.dataset].multiclass)))
    return found


def _entrant(entrant: sources.Entrant, dataset: RawDataset, top: Path) -> dict[str, Any]:
    panels = entrant.pictures / "panel"
    return {
        "name": entrant.name,
        "dataset": entrant.dataset,
        "kind": entrant.kind,
        "several": dataset.multiclass,
        "panels": _link(panels, top) if panels.is_dir() else None,
    }


def _gallery(
    index: int, entrant: sources.Entrant, dataset: RawDataset, main: sources.Scores, cases: Sequence[Case]
) -> dict[str, Any]:
    """Say what the gallery of an entrant shows."""
    by = {"f1": "F1", "iou": "mean IoU over the foreground classes"}[chosen_by(dataset.multiclass)]
    region = {"fov": "inside the field of view", "full": "whole picture"}[main.region]
    legend = [(name, _hex(colour)) for name, colour in zip(dataset.classes, dataset.colours, strict=True)]
    return {
        "index": index,
        "name": entrant.name,
        "dataset": entrant.dataset,
        "by": f"{by}, {region}",
        "cases": [{"kind": case.kind, "id": case.id, "score": f"{case.score:.3f}"} for case in cases],
        "classes": legend if dataset.multiclass else [],
    }


def _link(path: Path, top: Path) -> str:
    """Return the address of a file from the folder of the page."""
    return quote(os.path.relpath(path, top).replace(os.sep, "/"))
