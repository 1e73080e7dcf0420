"""The table of folds, which assigns samples to folds for training, prediction and averaging.

It is a JSON object: ``folds``, the number of folds; and ``members``, identifier to fold, 0 to folds - 1.
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
        Identifiers; together they are all labelled samples of the data set except test samples.
    """

    training: frozenset[str]
    validation: frozenset[str]

    @property
    def pool(self) -> frozenset[str]:
        """Training and validation identifiers together."""
        return self.training | self.validation


def write_fold_table(path: Path, members: Mapping[str, int], *, folds: int) -> None:
    """Write a table of folds; `members` maps identifiers to folds.

    Raises
    ------
    OutputError
    """
    write_json(path, {"folds": folds, "members": dict(members)})


def read_fold_table(path: Path, folds: int) -> list[frozenset[str]]:
    """Read the identifiers of each fold from a table that must have `folds` folds.

    Raises
    ------
    RawDataError
        If the file is missing, has another number of folds, or has an empty fold.
    """
    expected, remedy = f"a table of {folds} folds", f"delete it and run `snakemake {path}`"
    table: Any = None
    parts: list[set[str]] = [set() for _ in range(folds)]
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        for name, fold in table["members"].items():
            parts[fold].add(name)
        fold_count = table["folds"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        message = " ".join(str(error).split()) or type(error).__name__
        raise RawDataError(str(path), message, expected, remedy) from error
    if fold_count != folds or not all(parts):
        sizes = ", ".join(str(len(part)) for part in parts)
        raise RawDataError(str(path), f"{fold_count} folds; samples in each of {folds}: {sizes}", expected, remedy)
    return [frozenset(part) for part in parts]


def read_fold(path: Path, *, folds: int, fold: int) -> Fold:
    """Read the training and validation samples of a run; the validation samples are one of `folds` folds.

    Raises
    ------
    RawDataError
        See `read_fold_table`.
    """
    parts = read_fold_table(path, folds)
    training = frozenset().union(*(part for number, part in enumerate(parts) if number != fold))
    return Fold(training, parts[fold])
