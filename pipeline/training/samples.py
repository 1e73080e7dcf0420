"""Choose the training and validation samples: two splits, or all folds except one and that fold."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.raw.splits.fold_table import read_fold
from pipeline.raw.splits.rules import Fold
from pipeline.shards.select import Selection


class Samples(NamedTuple):
    """Samples of some shards: all, or a selection. `shards` is empty if there are no samples."""

    shards: list[Path]
    selection: Selection | None = None


def choose_samples(
    train_shards: Sequence[Path], validation_shards: Sequence[Path], fold: Fold | None, folds: Path | None
) -> tuple[Samples, Samples]:
    """Return the training samples and the validation samples.

    Parameters
    ----------
    train_shards, validation_shards : sequence of Path
        Shards of the data set. With a fold, both contain training and validation samples.
    fold : Fold, optional
        The fold to validate on.
    folds : Path, optional
        Table that `pipeline.raw.splits.folds` wrote; required with `fold`.

    Raises
    ------
    RawDataError
        If the table of folds is not valid.
    """
    if fold is None or folds is None:
        return Samples(list(train_shards)), Samples(list(validation_shards))
    table, shards = read_fold(folds, folds=fold.folds, fold=fold.fold), [*train_shards, *validation_shards]
    training, validation = (Selection(ids, table.pool) for ids in (table.training, table.validation))
    return Samples(shards, training), Samples(shards, validation)
