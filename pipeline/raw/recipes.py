"""What the results of raw data are made by: checks, tables of splits and of folds."""

from typing import Annotated, Literal

from pydantic import Field

from pipeline.core.options import Options
from pipeline.raw.source import Source
from pipeline.raw.splits.rules import Sampling

Channels = Literal["rgb", "grey"]
Storage = Literal["float16", "float32", "uint8"]
NormalizeMethod = Literal["minmax", "unit", "symmetric", "standard"]


class CheckRecipe(Options):
    """What the check of a data set is made by.

    Parameters
    ----------
    channels : {'rgb', 'grey'}
        What images are compared as.
    storage, normalize : str
        Storage and method of normalization of the shards, which images have to fit.
    """

    dataset: str
    channels: Channels
    storage: Storage
    normalize: NormalizeMethod
    source: Source


class SplitsRecipe(Options):
    """What the table of assignments of a data set is made by."""

    dataset: str
    source: Source


class FoldsRecipe(Options):
    """What a table of folds is made by.

    Parameters
    ----------
    folds : int
        How many there are.
    sampling : Sampling
        How samples are assigned: by seed, from strata or in groups.
    """

    dataset: str
    folds: Annotated[int, Field(ge=2, le=1000)]
    sampling: Sampling
    source: Source

    def deciding(self) -> "FoldsRecipe":
        """Return it without what concerns single samples."""
        return self.changed(source=self.source.without_members())
