"""The table of folds, which assigns samples to folds for training, prediction and averaging.

It is a JSON object: ``folds``, the number of folds; and ``fold_by_id``, identifier to fold, 0 to folds - 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.errors import RawDataError
from pipeline.core.files import read_json
from pipeline.core.manifest import remake_remedy
from pipeline.core.tables import write_json


@dataclass(frozen=True)
class FoldSamples:
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


def write_fold_table(path: Path, fold_by_id: Mapping[str, int], *, folds: int) -> None:
    """Write a table of folds; `fold_by_id` maps identifiers to folds.

    Raises
    ------
    OutputError
    """
    write_json(path, {"folds": folds, "fold_by_id": dict(fold_by_id)})


def read_fold_table(path: Path, folds: int) -> list[frozenset[str]]:
    """Read the identifiers of each fold from a table that must have `folds` folds.

    Raises
    ------
    RawDataError
        If the file is missing, has another number of folds, or has an empty fold.
    """
    expected = f"a table of {folds} folds"
    remedy = remake_remedy(path, "name a table that `python -m pipeline folds` wrote", f"snakemake {path}")
    table: Any = None
    ids_by_fold: list[set[str]] = [set() for _ in range(folds)]
    try:
        table = read_json(path)
        for name, fold in table["fold_by_id"].items():
            ids_by_fold[fold].add(name)
        fold_count = table["folds"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        message = " ".join(str(error).split()) or type(error).__name__
        raise RawDataError(str(path), message, expected, remedy) from error
    if fold_count != folds or not all(ids_by_fold):
        sizes = ", ".join(str(len(ids)) for ids in ids_by_fold)
        raise RawDataError(str(path), f"{fold_count} folds with {sizes} samples", expected, remedy)
    return [frozenset(ids) for ids in ids_by_fold]


def read_fold(path: Path, *, folds: int, fold: int) -> FoldSamples:
    """Read the samples of a run: fold number `fold`, from 0, for validation, and the other folds for training.

    Raises
    ------
    RawDataError
        See `read_fold_table`.
    """
    ids_by_fold = read_fold_table(path, folds)
    training = frozenset().union(*(ids for number, ids in enumerate(ids_by_fold) if number != fold))
    return FoldSamples(training, ids_by_fold[fold])
