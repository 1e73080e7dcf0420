"""What config.yaml may say of an experiment: its training, and how it predicts and is scored."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.core.options import NUMBER, Seed, Share
from pipeline.evaluation.recipes import ChosenThreshold, EmptyMasks
from pipeline.prediction.recipes import TestTime, Tiles
from pipeline.training.recipes import Training


class Experiment(Training):
    """One training with everything that decides its result, or several that differ in seed and fold alone."""

    seeds: tuple[Seed, ...] | None = Field(
        None, min_length=1, description="Train one network for each of these, and give mean and spread of their scores"
    )
    folds: Annotated[int, Field(ge=2, le=1000), NUMBER] | None = Field(
        None,
        description="Cross-validation: so many networks, each validated on another part of all but the test samples",
    )
    ensemble: bool = Field(
        True, description="Score the mean of the probabilities of all networks of `seeds` and `folds` as well"
    )
    threshold: Literal["validation"] | Share | ChosenThreshold = Field(
        "validation",
        description="validation: highest micro F1 on the validation samples; another {metric, averaging}; or a number",
    )
    tiles: Tiles | None = Field(None, description="Predict in tiles of this size; without it every image as a whole")
    test_time: TestTime = Field(
        "none",
        description="Average predictions over mirror images (flips, 4 passes) or also right-angle rotations (rot90, 8)",
    )
    empty_masks: EmptyMasks = Field(
        "one", description="Score of an image whose mask and prediction both are empty: 1, or left out of the mean"
    )
    keep_probability: bool = Field(
        False, description="Keep a probability image for each of several classes; of two classes it is always kept"
    )

    @model_validator(mode="after")
    def _one_way_to_say_seeds(self) -> "Experiment":
        if self.seeds is not None:
            if "seed" in self.model_fields_set:
                raise ValueError("either `seed` or `seeds`, not both")
            if len(set(self.seeds)) < len(self.seeds):
                raise ValueError("`seeds` that all differ: the same seed twice is the same network twice")
        return self

    @model_validator(mode="after")
    def _ensemble_of_several(self) -> "Experiment":
        several = self.folds is not None or len(self.seeds or ()) > 1
        if self.ensemble and "ensemble" in self.model_fields_set and not several:
            raise ValueError("`ensemble: true` only with `folds` or at least two `seeds`: one network is no ensemble")
        return self


class Run(Experiment):
    """One network of an experiment with `seeds` or `folds`: config.yaml never says this.

    Parameters
    ----------
    of : str
        The experiment.
    fold : int, optional
        The part, from 0, that it is validated on; it is trained on the other parts. None where there are no folds.
    """

    of: str
    fold: int | None = None
