"""The numbers behind the figures of the page, as plain data: learning curves, ROC and PR curves, single images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.core import paths
from pipeline.core.counts import cut_level
from pipeline.report.sources import EXPERIMENT, SHOWN, Method, Reader, Scores

_HISTORY = ("epoch", "train_loss", "lr", "val_loss", "val_dice", "val_mae", "val_max_f")
_POINTS = ("precision", "recall", "f1", "fpr")
_DIGITS = 4


def learning(reader: Reader, methods: Sequence[Method]) -> list[dict[str, Any]]:
    """Return the history of each training: column to one number for each epoch, None where nothing was measured."""
    found = []
    for index, method in enumerate(methods):
        is_trained = method.kind == EXPERIMENT
        table = reader.table(paths.model(method.name) / "history.csv", (), _HISTORY) if is_trained else None
        if table is not None:
            columns = {name: _plain(table[name].to_numpy(), 6) for name in _HISTORY}
            found.append({"method": index, "dataset": method.dataset, **columns})
    return found


def curves(reader: Reader, methods: Sequence[Method], thresholds: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return the curves of each method, split, region and averaging, over rising levels.

    Parameters
    ----------
    reader : Reader
    methods : sequence of Method
    thresholds : mapping of str to float
        The threshold that each method's scores were made with. Who has none, as with several classes, has no curves.

    Returns
    -------
    list of dict
        With ``threshold``, the columns of `_POINTS`, and ``at``, the place at which the method works. Of points that
        do not move, the first and the last are kept.
    """
    found = []
    keys = ("split", "region", "averaging")
    for index, method in enumerate(methods):
        if not method.scored or method.name not in thresholds:
            continue
        path = paths.metrics(method.name) / "curve.csv"
        table = reader.table(path, keys, ("level", "threshold", *_POINTS))
        for where, rows in table.groupby(list(keys), sort=False) if table is not None else ():
            working = rows["level"].to_numpy() == cut_level(thresholds[method.name]) + 1
            kept = _moving(rows[list(_POINTS)].round(_DIGITS).to_numpy()) | working
            kept_rows = rows[kept]
            found.append(
                {
                    "method": index,
                    "dataset": method.dataset,
                    **dict(zip(keys, where, strict=True)),
                    "at": int(np.flatnonzero(working[kept])[0]) if working.any() else None,
                    **{name: _plain(kept_rows[name].to_numpy()) for name in ("threshold", *_POINTS)},
                }
            )
    return found


def _moving(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which of some points differ from the one before or the one after; the ends always count."""
    same = ((points[1:] == points[:-1]) | (np.isnan(points[1:]) & np.isnan(points[:-1]))).all(axis=1)
    return np.asarray(np.concatenate([[True], ~same]) | np.concatenate([~same, [True]]))


def images(scored: Sequence[tuple[int, Method, Sequence[Scores]]], split: str = "test") -> list[dict[str, Any]]:
    """Return the scores of the single images, for each data set and region.

    Parameters
    ----------
    scored : sequence of (int, Method, sequence of Scores)
        The place of each method among all, and what it scored.
    split : str

    Returns
    -------
    list of dict
        ``dataset``, ``region``, ``ids``, ``share`` (foreground), and ``scores``: method to score to one number for
        each identifier.
    """
    groups: dict[tuple[str, str], list[tuple[int, pd.DataFrame]]] = {}
    for index, method, several in scored:
        for one in several:
            if one.split == split:
                groups.setdefault((method.dataset, one.region), []).append((index, one.table))
    found = []
    for (dataset, region), tables in groups.items():
        by_id = {str(index): table.set_index("id") for index, table in tables}
        shares = pd.concat([table["share"] for table in by_id.values()])
        shares = shares[~shares.index.duplicated()].sort_index()
        scores = {
            index: {name: _plain(table[name].reindex(shares.index).to_numpy()) for name in SHOWN}
            for index, table in by_id.items()
        }
        where = {"dataset": dataset, "region": region}
        found.append({**where, "ids": list(shares.index), "share": _plain(shares.to_numpy()), "scores": scores})
    return found


def _plain(values: NDArray[np.float64], digits: int = _DIGITS) -> list[float | int | None]:
    """Round numbers for JSON, which knows no NaN; whole numbers lose their point."""
    rounded = np.round(np.asarray(values, dtype=np.float64), digits).tolist()
    return [None if value != value else int(value) if value == int(value) else value for value in rounded]
