"""Settings of a bundle. They do not import torch."""

from pipeline.prediction.recipes import TestTime, Tiles
from pipeline.raw.source import FromSource, Source


class ExportRecipe(FromSource):
    """Settings of a bundle.

    Parameters
    ----------
    source : Source
        Of the images on which bundle and PyTorch are compared.
    split : str
        Their split.
    tiles, test_time
        See `pipeline.prediction.network.load_predictor`.
    """

    dataset: str
    source: Source
    split: str
    tiles: Tiles | None = None
    test_time: TestTime = "none"
