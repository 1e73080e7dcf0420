"""Select samples of several shards by identifier: the training and validation samples of a fold share shards."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import Problem, ShardError, plural

_MAX_LISTED = 5  # identifiers listed in a message


@dataclass(frozen=True)
class Selection:
    """The samples to read from some shards.

    Parameters
    ----------
    ids : collection of str
        Identifiers of the samples to read.
    all_ids : collection of str
        Identifiers of all samples that the shards must contain; missing and additional samples are errors.
    """

    ids: Collection[str]
    all_ids: Collection[str]


def select_rows(
    ids: Sequence[str], shards: Sequence[int], selection: Selection, paths: Sequence[Path]
) -> NDArray[np.int64]:
    """Find the rows of the selected samples.

    Parameters
    ----------
    ids : sequence of str
        Identifiers of the rows of all shards, concatenated.
    shards : sequence of int
        Shard number of each row.
    paths : sequence of Path
        The shards, for messages.

    Returns
    -------
    (N,) array of int64
        Sorted by shard number, then by identifier: the order of a split with exactly these samples.

    Raises
    ------
    ShardError
        If the shards do not contain each sample of `selection.all_ids` exactly once and no other.
    """
    counts = Counter(ids)
    problems = [
        Problem(
            ", ".join(map(str, paths)),
            f"{plural(len(names), 'sample')} {problem}: {', '.join(sorted(names)[:_MAX_LISTED])}"
            + ", ..." * (len(names) > _MAX_LISTED),
            "each sample of the table of folds exactly once, and no other",
            "run snakemake again: it makes shards and folds from the current raw files",
        )
        for problem, names in (
            ("not in the table of folds", counts.keys() - set(selection.all_ids)),
            ("missing in the shards", set(selection.all_ids) - counts.keys()),
            ("stored more than once", {name for name, count in counts.items() if count > 1}),
        )
        if names
    ]
    if problems:
        raise ShardError(problems)
    selected_ids = set(selection.ids)
    rows = sorted(
        (shard, name, row) for row, (shard, name) in enumerate(zip(shards, ids, strict=True)) if name in selected_ids
    )
    return np.array([row for _, _, row in rows], dtype=np.int64)
