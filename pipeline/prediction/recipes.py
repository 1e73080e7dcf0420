"""Recipes of predictions and ensembles. They do not import torch."""

from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator

from pipeline.core.options import NUMBER, FractionOrZero, HeightWidth, Options, Seed
from pipeline.raw.splits.rules import Fold
from pipeline.training.recipes import Precision, Threads

Kind = Literal["probability", "mask"]
TestTime = Literal["none", "horizontal", "flips", "rot90"]
PredictWith = Literal["best", "last"]
ProbabilityBits = Literal[8, 16]


class SourcedThreshold(NamedTuple):
    """A threshold, a text that says where it comes from, and whether the user gave it."""

    value: float
    source: str
    given: bool = False


class Tiles(Options):
    """Prediction of large images in overlapping tiles."""

    size: HeightWidth = Field(
        description="Height and width of a tile in pixels, after resizing to the data set's `size`; rounded up to a "
        "multiple of the network's downsampling factor."
    )
    overlap: FractionOrZero = Field(0.5, description="Minimum fraction of a tile that the next tile overlaps.")
    margin: Annotated[int, Field(ge=0), NUMBER] = Field(
        0,
        description="Width in pixels of the border of a tile whose output is dropped; ignored by `unet-original`.",
    )

    @model_validator(mode="after")
    def _has_pixels_between_margins(self) -> "Tiles":
        if 2 * self.margin >= min(self.size):
            raise ValueError("twice the `margin` must be less than each side of `size`")
        return self


class PredictRecipe(Options):
    """Settings of the predictions of a split.

    Parameters
    ----------
    kind : {'probability', 'mask'}
        ``'probability'``: of the foreground; with more than two classes, one folder for each class, with
        its name. ``'mask'``, only with more than two classes: the index of the most probable class, after the
        probabilities are resized to the native size.
    precision, threads, tiles, test_time
        See `pipeline.prediction.network.load_predictor`.
    predict_with : {'best', 'last'}
        Which checkpoint of the training run predicts.
    probability_bits : {8, 16}
        Of a stored probability: 255 or 65535 is probability 1.
    fold : Fold, optional
        The fold whose samples are predicted: the validation samples of the run.
    """

    dataset: str
    split: str
    kind: Kind
    precision: Precision
    threads: Threads
    tiles: Tiles | None = None
    test_time: TestTime
    predict_with: PredictWith = "best"
    probability_bits: ProbabilityBits = 8
    fold: Fold | None = None


class Run(Options):
    """A run of an experiment: its seed, and the fold that it is validated on."""

    seed: Seed
    fold: Fold | None = None


class EnsembleRecipe(Options):
    """Settings of the mean of the predictions of several runs.

    Parameters
    ----------
    kind : {'probability', 'mask'}
        ``'mask'``, only with several classes: the index of the class with the highest mean before rounding; the lowest
        index of equal ones.
    classes : tuple of str, optional
        Names of several classes, background first; None with two classes.
    """

    dataset: str
    split: str
    kind: Kind
    runs: Annotated[dict[str, Run], Field(min_length=1)]
    classes: tuple[str, ...] | None = None

    @property
    def folds(self) -> int | None:
        """Number of folds; None without folds."""
        fold = next(iter(self.runs.values())).fold
        return None if fold is None else fold.folds
