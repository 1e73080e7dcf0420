"""Collect all results and write the HTML report."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from pipeline.core import paths
from pipeline.core.errors import PredictionError, Problem, plural
from pipeline.core.files import write_text
from pipeline.core.progress import log
from pipeline.evaluation.metrics import METRICS
from pipeline.images.figures import FALSE_NEGATIVE, FALSE_POSITIVE, TRUE_POSITIVE
from pipeline.raw.dataset import RawDataset, open_dataset
from pipeline.report import series, sources
from pipeline.report.board import (
    CONDITIONS,
    build_board,
    comparison_rows,
    distinct_values,
    heat_tables,
    score_columns,
)
from pipeline.report.cards import read_cards
from pipeline.report.comparisons import COLUMNS as COMPARISON_COLUMNS
from pipeline.report.comparisons import NUMBERS as COMPARISON_NUMBERS
from pipeline.report.gallery import Case, MethodImages, case_score, choose_cases, fill_album
from pipeline.report.overview import build_overview
from pipeline.report.page import assemble
from pipeline.report.recipes import ReportRecipe
from pipeline.report.runs import provenances, stage_times
from pipeline.report.tables import number_problems, read_table
from pipeline.report.thumbnails import OTHER_CLASS

_LEGEND = {
    "true positive": TRUE_POSITIVE,
    "false negative": FALSE_NEGATIVE,
    "false positive": FALSE_POSITIVE,
    "other class": OTHER_CLASS,
}
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

    It reads the results of every method of the leaderboard and of every experiment, at the paths of
    `pipeline.core.paths`. Missing results, such as the learning curve of a baseline, are left out. The same files give
    the same bytes, except for the sections on times and provenance.

    Parameters
    ----------
    recipe : ReportRecipe
    leaderboard : Path
        The table of all scores.
    output : Path
        The HTML file. Its links to panels and tables are relative to its folder.
    intervals : sequence of Path
        Tables of confidence intervals, see `pipeline.report.sources.read_intervals`.
    comparisons : Path, optional
        Table of paired comparisons, see `pipeline.report.comparisons.COLUMNS`.

    Raises
    ------
    PredictionError, RawDataError, OutputError
        Listing every damaged file.
    """
    table = _read_leaderboard(leaderboard)
    reader = sources.Reader()
    methods = sources.find_methods(table, recipe.experiments)
    indices = {method.name: index for index, method in enumerate(methods)}
    averaged_names = [method.name for method in methods if method.kind == sources.DERIVED and not method.scored]
    paired = reader.required(comparisons, COMPARISON_COLUMNS, COMPARISON_NUMBERS) if comparisons is not None else None
    raw = {name: open_dataset(name, source) for name, source in recipe.datasets.items()}
    scored, matrices = _scores(reader, methods, raw)
    scored_images = {
        (methods[index].name, scores.split): "\n".join(sorted(map(str, scores.table["id"])))
        for index, all_scores in scored.items()
        for scores in all_scores
    }
    board = build_board(table, sources.read_intervals(reader, intervals), scored_images)
    data = _figures(reader, table, methods, scored)
    data |= {"confusions": matrices, "comparisons": comparison_rows(paired, indices)}
    times = stage_times(reader, {*recipe.datasets, *(method.name for method in methods)}, averaged_names)
    provenance_rows = provenances(reader, methods)
    reader.check()

    cases = _cases(methods, scored, raw)
    fov_datasets = {methods[index].dataset for index, (test_scores, _) in cases.items() if test_scores.region == "fov"}
    method_images = [
        MethodImages(
            methods[index],
            [case.id for case in selected],
            test_scores.worst_first(case_score(raw[methods[index].dataset].multiclass)),
        )
        for index, (test_scores, selected) in cases.items()
    ]
    album = fill_album(method_images, raw, fov_datasets)
    folder = output.parent
    data["legends"] = {name: _class_colours(dataset) for name, dataset in raw.items() if dataset.multiclass}
    data["methods"] = [_method(method, raw[method.dataset], folder) for method in methods]
    data["layers"] = [[album.layers[key] for key in album.layers if key[0] == method.name] for method in methods]
    data["album_ids"] = [[key[1] for key in album.layers if key[0] == method.name] for method in methods]
    checks = read_cards([*recipe.datasets])
    overview = build_overview(
        board,
        paired,
        checks,
        {methods[index].name: case for index, case in cases.items()},
        {name: dataset.multiclass for name, dataset in raw.items()},
    )
    best = {card["method"] for card in overview}
    for method in data["methods"]:
        method["best"] = method["name"] in best
    html = assemble(
        data=data,
        images=album.images,
        overview=overview,
        board=board,
        conditions=CONDITIONS,
        heat=heat_tables(board),
        filters={name: distinct_values(board.rows, name) for name in _FILTERS},
        legends=data["legends"],
        cards=checks,
        times=times,
        provenances=provenance_rows,
        methods=methods,
        indices=indices,
        colours={name: _hex(colour) for name, colour in _LEGEND.items()},
        has_comparisons=bool(data["comparisons"]),
        links=[(path.name, _link(path, folder)) for path in (leaderboard, comparisons) if path is not None],
    )
    write_text(output, html)
    contents = f"{plural(len(methods), 'method')}, {plural(len(album.images), 'image')}"
    log(f"{output}: {contents}, {len(html.encode()) / 1e6:.1f} MB")


def _hex(colour: tuple[int, int, int]) -> str:
    return f"#{bytes(colour).hex()}"


def _read_leaderboard(path: Path) -> pd.DataFrame:
    table = read_table(path)
    if missing_columns := [name for name in ("experiment", "dataset", "split") if name not in table]:
        found = f"a table without {', '.join(missing_columns)}"
        raise PredictionError(str(path), found, "a leaderboard", "name a leaderboard.csv that the pipeline wrote")
    if problems := number_problems(path, table, [*score_columns(table), *{"threshold"} & {*table}]):
        raise PredictionError(problems)
    return table


def _scores(
    reader: sources.Reader, methods: Sequence[sources.Method], raw: Mapping[str, RawDataset]
) -> tuple[dict[int, list[sources.Scores]], list[dict[str, Any]]]:
    """Read the scores of the individual images, by index of the method, and all confusion matrices."""
    scored: dict[int, list[sources.Scores]] = {}
    matrices: list[dict[str, Any]] = []
    for index, method in enumerate(methods):
        if method.dataset not in raw:
            expected, remedy = f"one of {', '.join(raw)}", "run `python -m pipeline clean`"
            problem = Problem(str(paths.metrics(method.name)), f"data set {method.dataset!r}", expected, remedy)
            reader.problems.append(problem)
        elif method.scored:
            table = sources.read_images(reader, method.name)
            if table is not None:
                scored[index] = sources.image_scores(table, raw[method.dataset].background)
            matrix = sources.confusion(reader, method.name, table)
            matrices += [{"method": index, **matrix}] if matrix is not None else []
    return scored, matrices


def _figures(
    reader: sources.Reader,
    leaderboard: pd.DataFrame,
    methods: Sequence[sources.Method],
    scored: Mapping[int, Sequence[sources.Scores]],
) -> dict[str, Any]:
    """Return the data of the curves and the scores of the individual test images."""
    rows = leaderboard.to_dict("records")
    thresholds = {row["experiment"]: float(row["threshold"]) for row in rows if row.get("threshold")}
    main_scores = [(index, methods[index], sources.main_region(scores)) for index, scores in scored.items()]
    return {
        "learning": series.learning(reader, methods),
        "curves": series.curves(reader, methods, thresholds),
        "images": series.images([(index, method, scores) for index, method, scores in main_scores if scores]),
        "scores": {name: METRICS[name].label for name in sources.SCORE_COLUMNS},
    }


def _cases(
    methods: Sequence[sources.Method], scored: Mapping[int, Sequence[sources.Scores]], raw: Mapping[str, RawDataset]
) -> dict[int, tuple[sources.Scores, list[Case]]]:
    """Return the test scores and the cases of every method that has rendered masks, by index of the method."""
    cases = {}
    for index, scores in scored.items():
        method, test_scores = methods[index], sources.main_region(scores)
        if test_scores is not None and (method.test_predictions / "mask").is_dir():
            score = case_score(raw[method.dataset].multiclass)
            cases[index] = (test_scores, choose_cases(test_scores.table, score))
    return cases


def _method(method: sources.Method, dataset: RawDataset, folder: Path) -> dict[str, Any]:
    panels = method.test_predictions / "panel"
    return {
        "name": method.name,
        "dataset": method.dataset,
        "kind": method.kind,
        "multiclass": dataset.multiclass,
        "panels": _link(panels, folder) if panels.is_dir() else None,
    }


def _class_colours(dataset: RawDataset) -> list[tuple[str, str]]:
    return [(name, _hex(colour)) for name, colour in zip(dataset.classes, dataset.colours, strict=True)]


def _link(path: Path, folder: Path) -> str:
    """Return the URL of a file relative to the folder of the report."""
    return quote(os.path.relpath(path, folder).replace(os.sep, "/"))
