"""Paired comparisons of all methods on the images that they share."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.core.errors import PredictionError, Problem, plural
from pipeline.core.manifest import remake_remedy
from pipeline.core.progress import log
from pipeline.core.tables import write_table
from pipeline.evaluation.bootstrap import blocks
from pipeline.evaluation.methods import MEAN, is_baseline
from pipeline.evaluation.metrics import CLASS_METRICS, METRICS
from pipeline.evaluation.paired import SIGN_FLIPS, SIGN_FLIPS_PER_COMPARISON, PairedComparisons, compare_pairs, holm

COMPARED_METRICS = tuple(name for name, metric in METRICS.items() if metric.compared)
"""Metrics that are compared: F1 and IoU, the overlap scores in common use, and MAE, which needs no threshold."""

COLUMNS = (
    *("dataset", "split", "region", "class", "metric", "a", "b", "images", "difference", "low", "high", "p", "p_holm"),
    "comparisons",
)
"""Columns of ``comparisons.csv``."""

NUMBERS = ("difference", "low", "high", "p", "p_holm")
"""Those that the report shows as numbers."""

_SPLIT = "test"
_EXPECTED, _REMEDY = "scores of individual images", "name the per_image.csv of a method"
_DEFINITION = ("scale", "mask_binarization", "empty_masks", "background")
_TEXT = ("experiment", "dataset", "split", "region", "class", "id", *_DEFINITION)
_NUMBERS = ("pixels", "tp", "fn")
_GROUP_KEYS = ("class", "id", "pixels", "positives", *_DEFINITION)


def compare_methods(*, per_image: Sequence[Path], output: Path) -> None:
    """Compare the scores of all experiments and baselines, pair by pair, on their common test images.

    Baselines are not compared with each other: such a pair says nothing about a network, and every pair of a family
    raises the corrected p-values of the others.

    Parameters
    ----------
    per_image : sequence of Path
        ``per_image.csv`` files; none gives a table without rows.
    output : Path
        CSV file with a row for each data set, region, class, metric and pair, see `pipeline.evaluation.paired`.
        p-values are corrected over a family: all pairs of one data set, split, region, class and metric. Two methods
        are compared only if all images, masks and definitions are the same; the others are logged.

    Raises
    ------
    PredictionError
        Listing every file that is missing or is not a table of scores.
    """
    scores = _read(per_image)
    rows: list[pd.DataFrame] = []
    for (dataset, region), region_scores in scores.groupby(["dataset", "region"], sort=True):
        groups = _comparable_groups(region_scores)
        if len(groups) > 1:
            parts = "; ".join(", ".join(group) for group in groups)
            reason = "not compared with each other because images, masks or policies for empty masks differ"
            log(f"{dataset}, {region}: {reason}: {parts}")
        classes = list(dict.fromkeys(region_scores["class"]))
        backgrounds = {*region_scores["background"]}
        for name in [MEAN, *classes] if len(classes) > 1 else classes:
            # the first class is background or, without background, none is
            selected_classes = [other for other in classes if other not in backgrounds] if name == MEAN else [name]
            by_image = [
                {method: _by_image(table, selected_classes) for method, table in group.items()} for group in groups
            ]
            conditions = {"dataset": dataset, "split": _SPLIT, "region": region, "class": name}
            rows += [table.assign(**conditions) for table in _families(by_image)]
    table = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=list(COLUMNS))
    write_table(output, table[list(COLUMNS)])
    log(f"{plural(len(table), 'comparison')} of {scores['experiment'].nunique()} methods")


def _read(files: Sequence[Path]) -> pd.DataFrame:
    """Read the scores of test images; experiments named 007 or NA keep their name."""
    tables, problems = [pd.DataFrame(columns=[*_TEXT, *_NUMBERS, *COMPARED_METRICS])], []
    required = (*_TEXT, *_NUMBERS, *(name for name in COMPARED_METRICS if name in CLASS_METRICS))
    types = {**dict.fromkeys(_TEXT, "str"), **dict.fromkeys((*_NUMBERS, *COMPARED_METRICS), "float64")}
    for path in files:
        try:
            table = pd.read_csv(
                path,
                usecols=lambda name: name in types,
                dtype=types,
                keep_default_na=False,
                na_values={name: [""] for name in (*_NUMBERS, *COMPARED_METRICS)},
            )
            if missing_columns := [name for name in required if name not in table]:
                found = f"a table without {', '.join(missing_columns)}"
                problems.append(Problem(str(path), found, _EXPECTED, _REMEDY))  # another table: not to be deleted
                continue
            if table.duplicated([name for name in _TEXT if name not in _DEFINITION]).any():
                raise ValueError("duplicate images")
        except (OSError, ValueError) as error:
            problems.append(Problem(str(path), str(error), _EXPECTED, remake_remedy(path, _REMEDY)))
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
        columns=[*_TEXT, "pixels", "positives", *COMPARED_METRICS]
    )


def _comparable_groups(scores: pd.DataFrame) -> list[dict[str, pd.DataFrame]]:
    """Group methods that were scored on the same images by the same definitions, the largest group first."""
    groups: dict[bytes, dict[str, pd.DataFrame]] = {}
    for name, table in scores.groupby("experiment", sort=True):
        group_key = table[list(_GROUP_KEYS)].sort_values(["class", "id"]).to_csv(index=False).encode()
        groups.setdefault(group_key, {})[str(name)] = table
    return sorted(groups.values(), key=len, reverse=True)


def _by_image(table: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Average the scores of each image over the classes that have one, in the order of the identifiers."""
    return table[table["class"].isin(classes)].groupby("id", sort=True)[list(COMPARED_METRICS)].mean()


def _families(by_image: Sequence[dict[str, pd.DataFrame]]) -> Iterator[pd.DataFrame]:
    """Compare pairs of methods and correct for the number of pairs: one table for each metric."""
    groups = [(group, pairs) for group in by_image if (pairs := _pairs(group))]
    pair_count = sum(len(pairs) for _, pairs in groups)
    tables: dict[str, list[pd.DataFrame]] = {metric: [] for metric in COMPARED_METRICS}
    for group, pairs in groups:
        a, b = zip(*pairs, strict=True)
        for metric, comparison in _compare(group, pairs, max(SIGN_FLIPS, SIGN_FLIPS_PER_COMPARISON * pair_count)):
            table = pd.DataFrame({"metric": metric, "a": a, "b": b, **comparison._asdict()})
            tables[metric].append(table[table["images"] > 0])
    for metric_tables in tables.values():
        if metric_tables:
            family = pd.concat(metric_tables, ignore_index=True)
            yield family.assign(p_holm=holm(family["p"].to_numpy()), comparisons=len(family))


def _pairs(methods: Iterable[str]) -> list[tuple[str, str]]:
    """Return all pairs of methods except those of two baselines."""
    return [pair for pair in combinations(methods, 2) if not all(map(is_baseline, pair))]


def _compare(
    group: dict[str, pd.DataFrame], names: Sequence[tuple[str, str]], sign_flips: int
) -> Iterator[tuple[str, PairedComparisons]]:
    """Compare pairs of a group by each available metric, with the same resamples and signs."""
    index = {name: number for number, name in enumerate(group)}
    pairs = [(index[a], index[b]) for a, b in names]
    by_metric = {
        name: np.stack([table[name].to_numpy(np.float64) for table in group.values()]) for name in COMPARED_METRICS
    }
    available = {name: values for name, values in by_metric.items() if not np.isnan(values).all()}
    shifted_pairs = [(a + len(group) * k, b + len(group) * k) for k in range(len(available)) for a, b in pairs]
    if shifted_pairs:
        results = compare_pairs(np.concatenate([*available.values()]), shifted_pairs, sign_flips)
        for name, block in zip(available, blocks(len(shifted_pairs), len(pairs)), strict=True):
            yield name, PairedComparisons._make(values[block] for values in results)
