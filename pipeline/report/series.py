"""Data of the figures of the report: learning curves, ROC and PR curves, scores of individual images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.core import paths
from pipeline.core.counts import threshold_level
from pipeline.report.sources import EXPERIMENT, SCORE_COLUMNS, Method, Reader, Scores, main_rows

_HISTORY = ("epoch", "train_loss", "lr", "val_loss", "val_dice", "val_mae", "val_max_f")
_POINTS = ("precision", "recall", "f1", "fpr")
_DIGITS = 4


def learning(reader: Reader, methods: Sequence[Method]) -> list[dict[str, Any]]:
    """Return the history of each experiment: a list for each column, one number per epoch, None if not measured."""
    histories = []
    for index, method in enumerate(methods):
        is_trained = method.kind == EXPERIMENT
        table = reader.table(paths.model(method.name) / "history.csv", (), _HISTORY) if is_trained else None
        if table is not None:
            columns = {name: _plain(table[name].to_numpy(), 6) for name in _HISTORY}
            histories.append({"method": index, "dataset": method.dataset, **columns})
    return histories


def curves(reader: Reader, methods: Sequence[Method], thresholds: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return the curves of the `main_rows` of each method, macro and micro, by ascending level.

    Parameters
    ----------
    reader : Reader
    methods : sequence of Method
    thresholds : mapping of str to float
        The threshold of each method's scores. A method without one, such as with several classes, has no curves.

    Returns
    -------
    list of dict
        With ``threshold``, the columns of `_POINTS`, and ``working_point``, the index of the point at the method's
        threshold, or None. Of equal consecutive points only the first and the last are kept.
    """
    method_curves = []
    keys = ("split", "region", "averaging")
    for index, method in enumerate(methods):
        if not method.scored or method.name not in thresholds:
            continue
        path = paths.metrics(method.name) / "curve.csv"
        table = reader.table(path, keys, ("level", "threshold", *_POINTS))
        for conditions, rows in main_rows(table).groupby(list(keys), sort=False) if table is not None else ():
            is_working_point = rows["level"].to_numpy() == threshold_level(thresholds[method.name]) + 1
            is_kept = _changes(rows[list(_POINTS)].round(_DIGITS).to_numpy()) | is_working_point
            kept_rows = rows[is_kept]
            method_curves.append(
                {
                    "method": index,
                    "dataset": method.dataset,
                    **dict(zip(keys, conditions, strict=True)),
                    "working_point": int(np.flatnonzero(is_working_point[is_kept])[0])
                    if is_working_point.any()
                    else None,
                    **{name: _plain(kept_rows[name].to_numpy()) for name in ("threshold", *_POINTS)},
                }
            )
    return method_curves


def _changes(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which points differ from the previous or the next one; the first and the last point always do."""
    equals_next = ((points[1:] == points[:-1]) | (np.isnan(points[1:]) & np.isnan(points[:-1]))).all(axis=1)
    return np.asarray(np.concatenate([[True], ~equals_next]) | np.concatenate([~equals_next, [True]]))


def images(scored: Sequence[tuple[int, Method, Scores]]) -> list[dict[str, Any]]:
    """Return the scores of the individual test images, for each data set.

    Parameters
    ----------
    scored : sequence of (int, Method, Scores)
        The index of each method among all methods, and its scores in the main region.

    Returns
    -------
    list of dict
        ``dataset``, ``region``, ``ids``, ``share`` (of foreground), and ``scores``, which maps the index of a method
        and the name of a score to one number for each identifier.
    """
    groups: dict[tuple[str, str], dict[str, pd.DataFrame]] = {}
    for index, method, scores in scored:
        groups.setdefault((method.dataset, scores.region), {})[str(index)] = scores.table.set_index("id")
    series = []
    for (dataset, region), by_id in groups.items():
        shares = pd.concat([table["share"] for table in by_id.values()])
        shares = shares[~shares.index.duplicated()].sort_index()
        columns = {
            index: {name: _plain(table[name].reindex(shares.index).to_numpy()) for name in SCORE_COLUMNS}
            for index, table in by_id.items()
        }
        conditions = {"dataset": dataset, "region": region}
        series.append({**conditions, "ids": list(shares.index), "share": _plain(shares.to_numpy()), "scores": columns})
    return series


def _plain(values: NDArray[np.float64], digits: int = _DIGITS) -> list[float | int | None]:
    """Round numbers for JSON: NaN becomes None, and whole numbers become int."""
    rounded = np.round(np.asarray(values, dtype=np.float64), digits).tolist()
    return [None if value != value else int(value) if value == int(value) else value for value in rounded]
