"""All methods against each other, image by image."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.core.errors import PredictionError, Problem
from pipeline.core.progress import log
from pipeline.core.tables import write_table
from pipeline.evaluation.bootstrap import blocks
from pipeline.evaluation.methods import MEAN
from pipeline.evaluation.metrics import METRICS, OF_CLASSES
from pipeline.evaluation.paired import DRAWS, DRAWS_FOR_EACH, Paired, compare_pairs, holm

COMPARED = tuple(name for name, metric in METRICS.items() if metric.compared)
"""What is compared: overlap in both spellings that works in the field report, and the error that needs no threshold."""

COLUMNS = (
    *("dataset", "split", "region", "class", "metric", "a", "b", "images", "difference", "low", "high", "p", "p_holm"),
    "comparisons",
)
"""Columns of ``comparisons.csv``."""

_SPLIT = "test"
_DEFINITION = ("scale", "mask_binarization", "empty_masks")
_TEXT = ("experiment", "dataset", "split", "region", "class", "id", *_DEFINITION)
_NUMBERS = ("pixels", "tp", "fn")
_SAME = ("class", "id", "pixels", "positives", *_DEFINITION)


def compare_methods(*, per_image: Sequence[Path], output: Path) -> None:
    """Compare the scores of all experiments and baselines, pair by pair, on the test images that they share.

    Parameters
    ----------
    per_image : sequence of Path
        ``per_image.csv`` files; none gives a table without rows.
    output : Path
        CSV file with a row for each data set, region, class, metric and pair: see `pipeline.evaluation.paired`. A
        family, over which p-values are corrected, is all pairs of one data set, split, region, class and metric. Two
        methods are compared only where all images are the same, with the same masks and the same definitions; what
        is not compared is said.

    Raises
    ------
    PredictionError
        Listing every file that is missing or is no table of scores.
    """
    scores = _read(per_image)
    rows: list[pd.DataFrame] = []
    for (dataset, region), same in scores.groupby(["dataset", "region"], sort=True):
        groups = _alike(same)
        if len(groups) > 1:
            parts = "; ".join(", ".join(group) for group in groups)
            others = "other images, masks or policies for empty masks, so not compared with each other"
            log(f"{dataset}, {region}: {others}: {parts}")
        classes = list(dict.fromkeys(same["class"]))
        for name in [MEAN, *classes] if len(classes) > 1 else classes:
            chosen = classes[1:] if name == MEAN else [name]
            by_image = [{method: _by_image(table, chosen) for method, table in one.items()} for one in groups]
            said = {"dataset": dataset, "split": _SPLIT, "region": region, "class": name}
            rows += [table.assign(**said) for table in _families(by_image)]
    table = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=list(COLUMNS))
    write_table(output, table[list(COLUMNS)])
    log(f"{len(table)} comparisons of {scores['experiment'].nunique()} methods")


def _read(files: Sequence[Path]) -> pd.DataFrame:
    """Read the scores of test images; an experiment named 007 or NA keeps its name."""
    tables, problems = [pd.DataFrame(columns=[*_TEXT, *_NUMBERS, *COMPARED])], []
    required = (*_TEXT, *_NUMBERS, *(name for name in COMPARED if name in OF_CLASSES))
    types = {**dict.fromkeys(_TEXT, "str"), **dict.fromkeys((*_NUMBERS, *COMPARED), "float64")}
    for path in files:
        try:
            table = pd.read_csv(
                path,
                usecols=lambda name: name in types,
                dtype=types,
                keep_default_na=False,
                na_values={name: [""] for name in (*_NUMBERS, *COMPARED)},
            )
            if lacking := [name for name in required if name not in table]:
                raise ValueError(f"a table without {', '.join(lacking)}")
            if table.duplicated([name for name in _TEXT if name not in _DEFINITION]).any():
                raise ValueError("images that stand in it twice")
        except (OSError, ValueError) as error:
            expected, remedy = "scores of single images", "delete it and run snakemake again"
            problems.append(Problem(str(path), str(error), expected, remedy))
        else:
            tables.append(table[table["split"] == _SPLIT])
    owners = Counter(name for table in tables for name in table["experiment"].unique())
    for name, count in owners.items():
        if count > 1:
            expected, remedy = "one file for each experiment", "name each file once"
            problems.append(Problem(f"experiment {name!r}", f"scores in {count} files", expected, remedy))
    if problems:
        raise PredictionError(problems)
    scores = pd.concat([table for table in tables if len(table)] or tables, ignore_index=True)
    return scores.assign(positives=scores["tp"] + scores["fn"]).reindex(
        columns=[*_TEXT, "pixels", "positives", *COMPARED]
    )


def _alike(scores: pd.DataFrame) -> list[dict[str, pd.DataFrame]]:
    """Put methods together that were scored on the same images by the same definitions, the most of them first."""
    groups: dict[bytes, dict[str, pd.DataFrame]] = {}
    for name, table in scores.groupby("experiment", sort=True):
        same = table[list(_SAME)].sort_values(["class", "id"]).to_csv(index=False).encode()
        groups.setdefault(same, {})[str(name)] = table
    return sorted(groups.values(), key=len, reverse=True)


def _by_image(table: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Average each image's scores over those of the classes that have one; in the order of the identifiers."""
    return table[table["class"].isin(classes)].groupby("id", sort=True)[list(COMPARED)].mean()


def _families(by_image: Sequence[dict[str, pd.DataFrame]]) -> Iterator[pd.DataFrame]:
    """Compare all pairs of methods, and correct for their number: one table for each metric."""
    groups = [group for group in by_image if len(group) > 1]
    number = sum(len(group) * (len(group) - 1) // 2 for group in groups)
    tables: dict[str, list[pd.DataFrame]] = {metric: [] for metric in COMPARED}
    for group in groups:
        a, b = zip(*combinations(group, 2), strict=True)
        for metric, compared in _compare(group, max(DRAWS, DRAWS_FOR_EACH * number)):
            table = pd.DataFrame({"metric": metric, "a": a, "b": b, **compared._asdict()})
            tables[metric].append(table[table["images"] > 0])
    for found in tables.values():
        if found:
            family = pd.concat(found, ignore_index=True)
            yield family.assign(p_holm=holm(family["p"].to_numpy()), comparisons=len(family))


def _compare(group: dict[str, pd.DataFrame], draws: int) -> Iterator[tuple[str, Paired]]:
    """Compare all pairs of a group by each metric that they have, with the same resamples and signs."""
    pairs = list(combinations(range(len(group)), 2))
    by_metric = {name: np.stack([table[name].to_numpy(np.float64) for table in group.values()]) for name in COMPARED}
    known = {name: values for name, values in by_metric.items() if not np.isnan(values).all()}
    shifted = [(a + len(group) * k, b + len(group) * k) for k in range(len(known)) for a, b in pairs]
    if shifted:
        found = compare_pairs(np.concatenate([*known.values()]), shifted, draws)
        for name, some in zip(known, blocks(len(shifted), len(pairs)), strict=True):
            yield name, Paired._make(values[some] for values in found)
