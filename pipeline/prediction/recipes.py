"""What predictions are made by. No import of torch."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.core.options import NUMBER, Options, Seed, Share, Side
from pipeline.raw.splits.rules import Fold
from pipeline.training.recipes import Precision, Threads

Kind = Literal["probability", "mask"]
TestTime = Literal["none", "flips", "rot90"]


class Tiles(Options):
    """How large images are predicted in parts that overlap."""

    size: tuple[Side, Side] = Field(
        description="[height, width] of a tile in pixels of the data set's `size`, filled up to what the network pools"
    )
    overlap: Share = Field(0.5, description="Share of a tile that the next one covers again")
    margin: Annotated[int, Field(ge=0), NUMBER] = Field(
        0, description="Pixels on each side of a tile that are seen and not used; unet-original drops its own instead"
    )

    @model_validator(mode="after")
    def _leaves_something(self) -> "Tiles":
        if 2 * self.margin >= min(self.size):
            raise ValueError("twice the `margin` must be less than each side of `size`")
        return self


class PredictRecipe(Options):
    """What the predictions of a split are made by, checkpoint and shards apart.

    Parameters
    ----------
    kind : {'probability', 'mask'}
        ``'probability'``: of the foreground, level / 255; of more than two classes, a folder for each, named after it.
        ``'mask'``, only of more than two classes: the index of the likeliest class, after every class has been resized
        to the native size.
    precision, threads, tiles, test_time
        See `pipeline.prediction.network.load_predictor`.
    fold : Fold, optional
        Predict the samples of a fold: of the validation samples of a run that is validated on it.
    """

    dataset: str
    split: str
    kind: Kind
    precision: Precision
    threads: Threads
    tiles: Tiles | None = None
    test_time: TestTime
    fold: Fold | None = None


class Run(Options):
    """What tells a run of an experiment from the others: its seed, and the fold that it is validated on."""

    seed: Seed
    fold: Fold | None = None


class EnsembleRecipe(Options):
    """What the mean of the predictions of several runs is made by.

    Parameters
    ----------
    kind : {'probability', 'mask'}
        ``'mask'``, only of several classes: the index of the class with the highest mean, before it is rounded; of
        equals, the first.
    classes : tuple of str, optional
        Names of several classes, background first; None where there are two.
    """

    dataset: str
    split: str
    kind: Kind
    runs: Annotated[dict[str, Run], Field(min_length=1)]
    classes: tuple[str, ...] | None = None

    @property
    def folds(self) -> int | None:
        """How many folds there are; None without folds."""
        fold = next(iter(self.runs.values())).fold
        return None if fold is None else fold.folds
