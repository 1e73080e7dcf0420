"""Recipes of the results of raw data: checks, tables of splits and of folds."""

from typing import Annotated, Literal

from pydantic import Field

from pipeline.core.options import Options
from pipeline.raw.source import Source
from pipeline.raw.splits.rules import Sampling

Channels = Literal["rgb", "grey"]
StorageType = Literal["uint8", "float16", "float32"]
Storage = Literal["auto"] | StorageType
NormalizeMethod = Literal["minmax", "unit", "symmetric", "standard"]


class CheckRecipe(Options):
    """Recipe of the check of a data set.

    Parameters
    ----------
    channels : {'rgb', 'grey'}
        Channels in which images are compared.
    storage, normalize : str
        Storage and normalization method of the shards; images must be compatible with them.
    native : bool
        Whether shards keep the native size, so that all images of a split must have the same one.
    """

    dataset: str
    channels: Channels
    storage: Storage
    normalize: NormalizeMethod
    native: bool
    source: Source


class SplitsRecipe(Options):
    """Recipe of the table of splits of a data set."""

    dataset: str
    source: Source


class FoldsRecipe(Options):
    """Recipe of a table of folds.

    Parameters
    ----------
    folds : int
        Number of folds.
    sampling : Sampling
        How samples are assigned: seed, strata or groups.
    """

    dataset: str
    folds: Annotated[int, Field(ge=2, le=1000)]
    sampling: Sampling
    source: Source

    def fingerprint_settings(self) -> "FoldsRecipe":
        """Return the recipe without settings of single samples."""
        return self.changed(source=self.source.without_members())
