"""What thresholds, scores and images are made by."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.core.options import OneOf, Options, Share
from pipeline.evaluation.methods import BASELINES
from pipeline.evaluation.metrics import CRITERIA
from pipeline.raw.source import FromSource, Source
from pipeline.shards.recipes import Interpolation, Size

EmptyMasks = Literal["one", "skip"]
Averaging = Literal["micro", "macro"]


class ChosenThreshold(Options):
    """The threshold that makes a score of the validation samples highest."""

    metric: Annotated[str, OneOf(CRITERIA)] = Field(
        "f1", description="What is made highest; f03: F with beta² 0.3, youden: true - false positive rate"
    )
    averaging: Averaging = Field("micro", description="micro: of all pixels together, macro: mean over the images")

    @model_validator(mode="after")
    def _has_that_average(self) -> "ChosenThreshold":
        if CRITERIA[self.metric].macro_only and self.averaging == "micro":
            raise ValueError(f"`averaging: macro`: `{self.metric}` belongs to single images")
        return self

    @property
    def depends_on_empty(self) -> bool:
        """Whether it matters what an image scores whose mask and prediction both are empty."""
        return self.averaging == "macro" and CRITERIA[self.metric].empty_matters


class ThresholdRecipe(FromSource):
    """What a threshold is made by.

    Parameters
    ----------
    dataset : str
    fixed : float, optional
        The threshold itself, where it is not to be chosen; the rest then is not needed.
    chosen : ChosenThreshold, optional
        What is made highest.
    split : str
        What it is chosen on. Of out-of-fold samples each is predicted by networks that have not seen it.
    empty_masks : {'one', 'skip'}
        Score of an image whose mask and prediction both are empty: 1, or left out of the mean.
    source : Source, optional
        For the masks.
    """

    dataset: str
    fixed: Share | None = None
    chosen: ChosenThreshold | None = None
    split: str = "validation"
    empty_masks: EmptyMasks = "one"
    source: Source | None = None

    @model_validator(mode="after")
    def _is_fixed_or_chosen(self) -> "ThresholdRecipe":
        if (self.fixed is None) == (self.chosen is None) or (self.chosen is None) != (self.source is None):
            raise ValueError("either `fixed`, or `chosen` and `source`")
        return self


class RenderRecipe(FromSource):
    """What the images of a split are made by; with classes in their colours."""

    dataset: str
    split: str
    source: Source


class SubmissionRecipe(FromSource):
    """What a submission to a challenge is made by."""

    dataset: str
    source: Source


class EvaluateRecipe(FromSource):
    """What scores are made by.

    Parameters
    ----------
    dataset : str
    empty_masks : {'one', 'skip'}
        Score of an image whose mask and prediction both are empty: 1, or left out of the mean. Of several classes the
        score of a class that neither mask nor prediction of an image has.
    source : Source
    """

    dataset: str
    empty_masks: EmptyMasks
    source: Source


class BaselineRecipe(FromSource):
    """What a baseline is made by.

    Parameters
    ----------
    dataset, split : str
        A split with masks; for the second observer, one whose samples all have one.
    kind : {'second-observer', 'all-background', 'resolution-ceiling'}
        The second observer's masks; zeros; or the masks, resized to the working size as shards resize them and back as
        predictions are resized.
    size : (int, int) or 'native', optional
        That of the data set, for the resolution ceiling.
    interpolation : {'area', 'linear'}, optional
        How shards resize soft masks.
    source : Source
    """

    dataset: str
    split: str
    kind: Annotated[str, OneOf(BASELINES)]
    size: Size | None = None
    interpolation: Interpolation | None = None
    source: Source
