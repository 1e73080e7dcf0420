"""Some samples of several shards, by identifier: training and validation samples of a fold lie in the same files."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import Problem, ShardError

_SHOWN = 5  # identifiers that a message names


@dataclass(frozen=True)
class Selection:
    """Which samples of some shards are wanted.

    Parameters
    ----------
    ids : collection of str
        Their identifiers.
    all_ids : collection of str
        Those of all samples that the shards are to hold: one more or less is an error.
    """

    ids: Collection[str]
    all_ids: Collection[str]


def select_rows(
    ids: Sequence[str], shards: Sequence[int], selection: Selection, paths: Sequence[Path]
) -> NDArray[np.int64]:
    """Find the rows of the wanted samples.

    Parameters
    ----------
    ids : sequence of str
        Identifier of each row of the shards, one after another.
    shards : sequence of int
        Number of the shard that each row stands in.
    paths : sequence of Path
        The shards, for messages.

    Returns
    -------
    (N,) array of int64
        In the order of shard numbers, then of identifiers: that of a data set whose split holds these samples alone.

    Raises
    ------
    ShardError
        If the shards hold other samples than they are to, or one of them twice.
    """
    times = Counter(ids)
    problems = [
        Problem(
            ", ".join(map(str, paths)),
            f"{len(names)} samples {words}: {', '.join(sorted(names)[:_SHOWN])}{', ...' * (len(names) > _SHOWN)}",
            "each sample of the table of folds once, and no other",
            "run snakemake again: shards and folds are made from the raw files that are there",
        )
        for words, names in (
            ("that the table of folds does not know", times.keys() - set(selection.all_ids)),
            ("of the table of folds too few", set(selection.all_ids) - times.keys()),
            ("more than once", {name for name, count in times.items() if count > 1}),
        )
        if names
    ]
    if problems:
        raise ShardError(problems)
    wanted = set(selection.ids)
    rows = sorted(
        (shard, name, row) for row, (shard, name) in enumerate(zip(shards, ids, strict=True)) if name in wanted
    )
    return np.array([row for _, _, row in rows], dtype=np.int64)
