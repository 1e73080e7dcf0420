"""Which samples a network trains on and is validated on: two splits, or all folds but one and that one."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.raw.splits.fold_table import read_fold
from pipeline.raw.splits.rules import Fold
from pipeline.shards.select import Selection


class Samples(NamedTuple):
    """Samples of some shards: those of a selection, or all; no shards where there are no samples."""

    shards: list[Path]
    selection: Selection | None = None


def choose_samples(
    train_shards: Sequence[Path], validation_shards: Sequence[Path], fold: Fold | None, folds: Path | None
) -> tuple[Samples, Samples]:
    """Return the samples to train on, and those to validate on.

    Parameters
    ----------
    train_shards, validation_shards : sequence of Path
        Of the data set. With a fold, both hold samples of both kinds.
    fold : Fold, optional
        The one to validate on.
    folds : Path, optional
        What `pipeline.raw.splits.folds` wrote; needed with `fold`.

    Raises
    ------
    RawDataError
        If the table cannot be used.
    """
    if fold is None or folds is None:
        return Samples(list(train_shards)), Samples(list(validation_shards))
    known, shards = read_fold(folds, folds=fold.folds, fold=fold.fold), [*train_shards, *validation_shards]
    training, validation = (Selection(ids, known.pool) for ids in (known.training, known.validation))
    return Samples(shards, training), Samples(shards, validation)
