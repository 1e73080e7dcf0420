"""Collect what stands under ``results/`` and write the page about it."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from pipeline.core import paths
from pipeline.core.errors import Problem
from pipeline.core.files import write_text
from pipeline.core.progress import say
from pipeline.images.figures import FALSE_ALARM, HIT, MISS
from pipeline.raw.dataset import RawDataset, open_dataset
from pipeline.report import series
from pipeline.report.board import COMPARED, build_board, choices, compared
from pipeline.report.cards import read_cards
from pipeline.report.gallery import Album, Case, Gallery, choose_cases, chosen_by, main_region, told
from pipeline.report.page import assemble
from pipeline.report.recipes import ReportRecipe
from pipeline.report.runs import provenances, stage_times
from pipeline.report.sources import (
    DERIVED,
    Entrant,
    Reader,
    Scores,
    confusions,
    find_entrants,
    picture_scores,
    read_intervals,
    read_pictures,
)
from pipeline.report.tables import read_tables
from pipeline.report.thumbnails import OTHER


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
        Table of paired comparisons, see `pipeline.report.board.COMPARED`.

    Raises
    ------
    PredictionError, RawDataError, OutputError
        Listing everything that is damaged.
    """
    (table,) = read_tables([leaderboard])
    reader = Reader()
    entrants = find_entrants(table, recipe.experiments)
    named = {*recipe.datasets, *(entrant.name for entrant in entrants)}
    averaged = [one.name for one in entrants if one.kind == DERIVED and not one.scored]
    tested = reader.required(comparisons, COMPARED) if comparisons is not None else None
    raw = {name: open_dataset(name, source) for name, source in recipe.datasets.items()}
    scored, matrices = _scores(reader, entrants, raw)
    board = build_board(table, read_intervals(reader, intervals), _pictures(entrants, scored))
    data: dict[str, Any] = {
        "learning": series.learning(reader, entrants),
        "curves": series.curves(reader, entrants, _thresholds(table)),
        "pictures": series.pictures([(index, entrants[index], scores) for index, scores in scored.items()]),
        "confusions": matrices,
    }
    times = stage_times(reader, named, averaged)
    made = provenances(reader, entrants)
    reader.check()

    cases = _cases(entrants, scored, raw)
    inside = {entrants[index].dataset: _region(scores) == "fov" for index, scores in scored.items()}
    gallery = Gallery({entrant.dataset: raw[entrant.dataset] for entrant, _ in cases.values()}, inside)
    album = gallery.fill(
        [(entrant, [case.id for case in chosen], _tested(scored[index])) for index, (entrant, chosen) in cases.items()]
    )
    top = output.parent
    data["entrants"] = [_entrant(entrant, raw, top) for entrant in entrants]
    data["album"] = [[album.shown[key] for key in album.shown if key[0] == one.name] for one in entrants]
    data["shown"] = [[key[1] for key in album.shown if key[0] == one.name] for one in entrants]
    page = assemble(
        data=data,
        images=album.images,
        board=board,
        filters={name: choices(board.rows, name) for name in ("dataset", "split", "region", "class", "averaging")},
        comparisons=compared(tested),
        galleries=[_told(index, entrant, chosen, scored, raw) for index, (entrant, chosen) in cases.items()],
        album=_about(album, [entrant.dataset for entrant, _ in cases.values()]),
        cards=read_cards([*recipe.datasets]),
        times=times,
        provenances=made,
        entrants=entrants,
        colours={name: _hex(colour) for name, colour in _LEGEND.items()},
        links=_links(leaderboard, comparisons, top),
        drawn=sorted(name for name, dataset in raw.items() if dataset.drawn),
    )
    write_text(output, page)
    say(f"{output}: {len(entrants)} entrants, {len(album.images)} pictures, {len(page.encode()) / 1e6:.1f} MB")


_LEGEND = {"hit": HIT, "missed": MISS, "false alarm": FALSE_ALARM, "other class": OTHER}


def _hex(colour: tuple[int, int, int]) -> str:
    return "#" + "".join(f"{value:02x}" for value in colour)


def _scores(
    reader: Reader, entrants: Sequence[Entrant], raw: Mapping[str, RawDataset]
) -> tuple[dict[int, list[Scores]], list[dict[str, Any]]]:
    """Read the scores of single pictures, and all confusion matrices."""
    scored: dict[int, list[Scores]] = {}
    matrices: list[dict[str, Any]] = []
    for index, entrant in enumerate(entrants):
        if entrant.dataset not in raw:
            found, expected = f"scores on a data set {entrant.dataset!r}", f"one of {', '.join(raw)}"
            problem = Problem(str(paths.metrics(entrant.name)), found, expected, "run `python -m pipeline clean`")
            reader.problems.append(problem)
            continue
        if not entrant.scored:
            continue
        table = read_pictures(reader, entrant.name)
        if table is not None:
            scored[index] = picture_scores(table, raw[entrant.dataset].classes[0])
        found_here = confusions(reader, entrant.name, table)
        matrices += [{"entrant": index, "dataset": entrant.dataset, **one} for one in found_here]
    return scored, matrices


def _pictures(entrants: Sequence[Entrant], scored: Mapping[int, Sequence[Scores]]) -> dict[tuple[str, str], str]:
    """Return what tells the pictures of an entrant and split from others."""
    return {
        (entrants[index].name, one.split): "\n".join(sorted(map(str, one.table["id"])))
        for index, scores in scored.items()
        for one in scores
    }


def _thresholds(table: pd.DataFrame) -> dict[str, float]:
    """Return the threshold of each entrant that has a single one."""
    if "threshold" not in table:
        return {}
    rows = table[table["threshold"] != ""]
    return {str(name): float(text) for name, text in zip(rows["experiment"], rows["threshold"], strict=True)}


def _region(scores: Sequence[Scores]) -> str:
    main = main_region(scores)
    return "" if main is None else main.region


def _tested(scores: Sequence[Scores]) -> list[str]:
    """Return the identifiers of the pictures that an entrant was tested on."""
    main = main_region(scores)
    return [] if main is None else [str(name) for name in main.table["id"]]


def _cases(
    entrants: Sequence[Entrant], scored: Mapping[int, Sequence[Scores]], raw: Mapping[str, RawDataset]
) -> dict[int, tuple[Entrant, list[Case]]]:
    """Choose cases of every entrant that has masks of test pictures to show."""
    found = {}
    for index, scores in scored.items():
        entrant, main = entrants[index], main_region(scores)
        if main is not None and (entrant.pictures / "mask").is_dir():
            by = chosen_by(raw[entrant.dataset].multiclass)
            found[index] = (entrant, choose_cases(main.table, by))
    return found


def _entrant(entrant: Entrant, raw: Mapping[str, RawDataset], top: Path) -> dict[str, Any]:
    panels = entrant.pictures / "panel"
    return {
        "name": entrant.name,
        "dataset": entrant.dataset,
        "kind": entrant.kind,
        "several": raw[entrant.dataset].multiclass,
        "panels": _link(panels, top) if panels.is_dir() else None,
    }


def _told(
    index: int,
    entrant: Entrant,
    cases: Sequence[Case],
    scored: Mapping[int, Sequence[Scores]],
    raw: Mapping[str, RawDataset],
) -> dict[str, Any]:
    """Say what the gallery of an entrant shows."""
    dataset = raw[entrant.dataset]
    by = {"f1": "F1", "iou": "mean IoU over the foreground classes"}[chosen_by(dataset.multiclass)]
    region = {"fov": "inside the field of view", "full": "whole picture"}[_region(scored[index])]
    legend = [(name, _hex(colour)) for name, colour in zip(dataset.classes, dataset.colours, strict=True)]
    return {
        "index": index,
        "name": entrant.name,
        "dataset": entrant.dataset,
        "by": f"{by}, {region}",
        "cases": [told(case) for case in cases],
        "classes": legend if dataset.multiclass else [],
    }


def _about(album: Album, datasets: Sequence[str]) -> dict[str, Any]:
    rest = sorted({*datasets} - album.complete)
    return {"side": album.side, "complete": sorted(album.complete), "rest": rest}


def _links(leaderboard: Path, comparisons: Path | None, top: Path) -> list[tuple[str, str]]:
    files = [leaderboard, *([comparisons] if comparisons is not None else [])]
    return [(path.name, _link(path, top)) for path in files]


def _link(path: Path, top: Path) -> str:
    """Return the address of a file from the folder of the page."""
    return quote(os.path.relpath(path, top).replace(os.sep, "/"))
