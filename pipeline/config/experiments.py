"""Types of the experiments in config.yaml: training, prediction and scoring."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.core.options import NUMBER, FractionOrZero, Seed
from pipeline.evaluation.recipes import ChosenThreshold, EmptyMasks
from pipeline.prediction.recipes import PredictWith, ProbabilityBits, TestTime, Tiles
from pipeline.training.recipes import Training


class Experiment(Training):
    """One training run and everything made from it, or several runs that differ only in seed and fold."""

    seeds: tuple[Seed, ...] | None = Field(
        None,
        min_length=1,
        description="Seeds of several training runs, one network each; scores then also have a mean and a spread.",
    )
    folds: Annotated[int, Field(ge=2, le=1000), NUMBER] | None = Field(
        None,
        description="Number of folds for cross-validation, with one network for each; test samples are in no fold.",
    )
    ensemble: bool = Field(
        True, description="Also score the mean of the probabilities of all networks of `seeds` and `folds`."
    )
    threshold: Literal["validation"] | FractionOrZero | ChosenThreshold = Field(
        "validation",
        description="Probability above which a pixel is foreground: a number, or `validation` for the one with the "
        "highest micro F1 on validation samples, or {metric, averaging} for another score.",
    )
    tiles: Tiles | None = Field(
        None, description="Predict large images in overlapping tiles; by default each image as a whole."
    )
    test_time: TestTime = Field(
        "none",
        description="Test-time augmentation: average the predictions of the image and its horizontal mirror image "
        "(`horizontal`, 2 passes), of both mirror images (`flips`, 4), or of rotations by 90 degrees too (`rot90`, 8).",
    )
    predict_with: PredictWith = Field(
        "best",
        description="Network that predicts: of the epoch with the best validation score (`best`, the file best.pt), or "
        "of the last epoch (`last`, last.pt).",
    )
    probability_bits: ProbabilityBits = Field(
        8,
        description="Bits of a stored probability. 16 keep the order of pixels that the network is sure of, for areas "
        "under curves: with Dice in the loss, the ROC area is up to 0.002 higher.",
    )
    empty_masks: EmptyMasks | None = Field(
        None,
        description="Score of an image whose mask and prediction are both empty: 1 (`one`, the default with two "
        "classes), or omitted from the mean (`skip`, the default with several classes, for each class alone).",
    )
    keep_probability: bool = Field(
        False,
        description="With more than two classes, also store a probability image of each class; with two classes the "
        "probability is always stored.",
    )

    @model_validator(mode="after")
    def _seed_or_seeds(self) -> "Experiment":
        if self.seeds is not None:
            if "seed" in self.model_fields_set:
                raise ValueError("either `seed` or `seeds`, not both")
            if len(set(self.seeds)) < len(self.seeds):
                raise ValueError("distinct `seeds`, because equal seeds give equal networks")
        return self

    @model_validator(mode="after")
    def _ensemble_has_several_runs(self) -> "Experiment":
        has_several_runs = self.folds is not None or len(self.seeds or ()) > 1
        if self.ensemble and "ensemble" in self.model_fields_set and not has_several_runs:
            raise ValueError(
                "`ensemble: true` only with `folds` or at least two `seeds`: an ensemble needs several networks"
            )
        return self


class Run(Experiment):
    """One network of an experiment with `seeds` or `folds`; not a type of config.yaml.

    Parameters
    ----------
    experiment : str
        Name of the experiment.
    fold : int, optional
        Index, from 0, of the fold that it is validated on; it is trained on the others. None without folds.
    """

    experiment: str
    fold: int | None = None
