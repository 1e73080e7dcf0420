"""What predictions are made by. No import of torch."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.core.options import NUMBER, Options, Seed, Side
from pipeline.raw.splits.methods import Fold
from pipeline.training.recipes import Precision, Threads

Kind = Literal["probability", "mask"]
TestTime = Literal["none", "flips", "turns"]


class Tiles(Options):
    """How large pictures are predicted in parts that overlap."""

    size: tuple[Side, Side] = Field(
        description="[height, width] of a tile in pixels of the data set's `size`, filled up to what the network pools"
    )
    overlap: Annotated[
        float, Field(ge=0, lt=1, description="Share of a tile that the next one covers again"), NUMBER
    ] = 0.5
    margin: Annotated[
        int,
        Field(
            ge=0,
            description="Pixels on each side of a tile that are seen and not used; unet-original drops its own instead",
        ),
        NUMBER,
    ] = 0

    @model_validator(mode="after")
    def _leaves_something(self) -> "Tiles":
        if 2 * self.margin >= min(self.size):
            raise ValueError("twice the `margin` must be less than each side of `size`")
        return self


class PredictRecipe(Options):
    """What the predictions of a split are made by, checkpoint and shards apart.

    Parameters
    ----------
    dataset, split : str
    kind : {'probability', 'mask'}
        ``'probability'``: of the foreground, level / 255; of more than two classes, a folder for each, named after it.
        ``'mask'``, only of more than two classes: the index of the likeliest class, after every class has been resized
        to the native size.
    precision : {'fp32', 'bf16', 'auto'}
    threads : int
    tiles, test_time
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
    """What tells a run of an experiment from the others.

    Parameters
    ----------
    seed : int
    fold : Fold, optional
        The one that it is validated on, where there are folds.
    """

    seed: Seed
    fold: Fold | None = None


class EnsembleRecipe(Options):
    """What the mean of the predictions of several runs is made by.

    Parameters
    ----------
    dataset, split : str
    kind : {'probability', 'mask'}
        ``'mask'``, only of several classes: the index of the class with the highest mean, before it is rounded; of
        equals, the first.
    runs : dict of str to Run
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
