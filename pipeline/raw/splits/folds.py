"""Folds of a data set for cross-validation: parts of its training and validation samples."""

from collections.abc import Mapping
from pathlib import Path

from pipeline.core.errors import RawDataError, plural
from pipeline.raw.dataset import RawDataset, measure_strata, open_dataset
from pipeline.raw.recipes import FoldsRecipe
from pipeline.raw.samples import Sample
from pipeline.raw.splits.assign import SplitAssigner
from pipeline.raw.splits.fold_table import write_fold_table
from pipeline.raw.splits.names import TRAIN, VALIDATION
from pipeline.raw.splits.rules import FoldSplit, Sampling


def assign_folds(dataset: RawDataset, folds: int, sampling: Sampling, cache: str | None = None) -> dict[str, int]:
    """Assign each training and validation sample to a fold.

    Fold i contains the validation samples that ``validation: {rule: k-fold, fold: i, ...}`` would select, whatever
    `validation` is configured.

    Parameters
    ----------
    folds, sampling, cache
        See `FoldsRecipe` and `pipeline.raw.splits.foreground.foreground_fractions`.

    Returns
    -------
    dict of str to int
        Identifier to fold, 0 to folds - 1, sorted by identifier. Excluded samples are removed after the folds are
        assigned, so that no other sample changes its fold.

    Raises
    ------
    RawDataError
        If a fold is empty, if groups cannot be found, or if masks needed for strata cannot be read.
    """
    pool_ids = {sample.id for sample in dataset.pool}
    excluded_samples = [item.sample for item in dataset.excluded if item.sample and item.split in (TRAIN, VALIDATION)]
    samples = {sample.id: sample for sample in (*dataset.pool, *excluded_samples)}
    excluded_ids = [sample.id for sample in excluded_samples]
    stratum_by_id = (
        measure_strata(dataset, list(samples.values()), exclude=excluded_ids, cache=cache) if sampling.stratify else {}
    )
    assigner = SplitAssigner(dataset.name, dataset.root, stratum_by_id)
    fold_by_id: dict[str, int] = {}
    for fold in range(folds):
        selected = assigner.select(samples, "folds", sampling.to(FoldSplit, rule="k-fold", folds=folds, fold=fold))
        if not selected & pool_ids:
            raise RawDataError(
                f"data set {dataset.name!r}, fold {fold} of {folds}",
                f"{plural(len(selected), 'sample')}, all of them excluded (`exclude`)",
                "at least one sample in every fold",
                "lower `folds`, or exclude fewer samples",
            )
        fold_by_id |= dict.fromkeys(selected & pool_ids, fold)
    return dict(sorted(fold_by_id.items()))


def write_folds(recipe: FoldsRecipe, *, output: Path) -> None:
    """Write the table of folds of a data set; see `write_fold_table`.

    Raises
    ------
    RawDataError, OutputError
    """
    raw = open_dataset(recipe.dataset, recipe.source)
    fold_by_id = assign_folds(raw, recipe.folds, recipe.sampling, recipe.source.cache)
    write_fold_table(output, fold_by_id, folds=recipe.folds)


def split_by_fold(dataset: RawDataset, fold_by_id: Mapping[str, int], fold: int) -> dict[str, list[Sample]]:
    """Return the splits of a run that is validated on one fold; for `fold_by_id` see `assign_folds`."""
    return {
        **dataset.splits,
        TRAIN: [sample for sample in dataset.pool if fold_by_id[sample.id] != fold],
        VALIDATION: [sample for sample in dataset.pool if fold_by_id[sample.id] == fold],
    }
