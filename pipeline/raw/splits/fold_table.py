"""The table of folds: which sample belongs to which part, for whoever trains, predicts or averages.

It is small JSON: ``folds``, how many there are; and ``members``, from each identifier to its fold, 0 to folds - 1.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.errors import RawDataError
from pipeline.core.tables import write_json


@dataclass(frozen=True)
class Fold:
    """The samples of one run.

    Parameters
    ----------
    training, validation : frozenset of str
        Identifiers; together they are all samples of the data set that are no test samples.
    """

    training: frozenset[str]
    validation: frozenset[str]

    @property
    def pool(self) -> frozenset[str]:
        """All of them."""
        return self.training | self.validation


def write_fold_table(path: Path, members: Mapping[str, int], *, folds: int) -> None:
    """Write a table of folds; `members` are identifiers with their folds.

    Raises
    ------
    OutputError
    """
    write_json(path, {"folds": folds, "members": dict(members)})


def read_fold_table(path: Path, folds: int) -> list[frozenset[str]]:
    """Read the identifiers of each fold from a table that has to have so many.

    Raises
    ------
    RawDataError
        If the file is missing, or has another number of folds or an empty one.
    """
    expected, remedy = f"a table of {folds} folds", f"delete it and run `snakemake {path}`"
    said: Any = None
    parts: list[set[str]] = [set() for _ in range(folds)]
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        for name, fold in said["members"].items():
            parts[fold].add(name)
        number = said["folds"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        found = " ".join(str(error).split()) or type(error).__name__
        raise RawDataError(str(path), found, expected, remedy) from error
    if number != folds or not all(parts):
        found = f"{number} folds; of {folds} samples are in {', '.join(str(len(part)) for part in parts)}"
        raise RawDataError(str(path), found, expected, remedy)
    return [frozenset(part) for part in parts]


def read_fold(path: Path, *, folds: int, fold: int) -> Fold:
    """Read which samples a run trains on, and which it is validated on: those of one of `folds`.

    Raises
    ------
    RawDataError
        See `read_fold_table`.
    """
    parts = read_fold_table(path, folds)
    training = frozenset().union(*(part for number, part in enumerate(parts) if number != fold))
    return Fold(training, parts[fold])
