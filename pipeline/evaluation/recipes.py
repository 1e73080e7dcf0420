"""Recipes of thresholds, scores, renderings, submissions and baselines."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.core.options import Choice, FractionOrZero, Options
from pipeline.evaluation.methods import BASELINES
from pipeline.evaluation.metrics import CRITERIA
from pipeline.raw.source import FromSource, Source
from pipeline.shards.recipes import Interpolation, MaskResize, Size

EmptyMasks = Literal["one", "skip"]

DEFAULT_EMPTY_MASKS: dict[bool, EmptyMasks] = {False: "one", True: "skip"}
"""Default policy for empty masks, by whether there are several classes. With two classes an image without foreground is
a case of its own, which a network can get right; with several, a class that occurs nowhere says nothing about it."""

Averaging = Literal["micro", "macro"]


class ChosenThreshold(Options):
    """The threshold with the best score on the validation samples."""

    metric: Annotated[str, Choice(CRITERIA)] = Field(
        "f1",
        description="Score to maximise; `f03`: F-measure with beta² = 0.3, `youden`: true minus false positive rate.",
    )
    averaging: Averaging = Field(
        "micro", description="Score of all pixels of all images together (`micro`), or mean over images (`macro`)."
    )

    @model_validator(mode="after")
    def _average_is_defined(self) -> "ChosenThreshold":
        if CRITERIA[self.metric].macro_only and self.averaging == "micro":
            raise ValueError(f"`averaging: macro`: `{self.metric}` is defined only for single images")
        return self

    @property
    def depends_on_empty(self) -> bool:
        """Whether it depends on the score of images whose mask and prediction are both empty."""
        return self.averaging == "macro" and CRITERIA[self.metric].empty_matters


class ThresholdRecipe(FromSource):
    """Settings of a threshold.

    Parameters
    ----------
    dataset : str
    fixed : float, optional
        A fixed threshold; the other fields are then not needed.
    criterion : ChosenThreshold, optional
        Score that the threshold maximizes.
    split : str
        Split on which it is chosen. Out-of-fold samples are predicted by networks that were not trained on them.
    empty_masks : {'one', 'skip'}
        The score of an image whose mask and prediction are both empty is 1, or excluded from the mean.
    source : Source, optional
        Raw files of the masks.
    """

    dataset: str
    fixed: FractionOrZero | None = None
    criterion: ChosenThreshold | None = None
    split: str = "validation"
    empty_masks: EmptyMasks = "one"
    source: Source | None = None

    @model_validator(mode="after")
    def _is_fixed_or_chosen(self) -> "ThresholdRecipe":
        if (self.fixed is None) == (self.criterion is None) or (self.criterion is None) != (self.source is None):
            raise ValueError("either `fixed`, or `criterion` and `source`")
        return self


class RenderRecipe(FromSource):
    """Settings of the renderings of a split; classes have the colours of the data set."""

    dataset: str
    split: str
    source: Source


class SubmissionRecipe(FromSource):
    """Settings of a submission to a challenge."""

    dataset: str
    source: Source


class EvaluateRecipe(FromSource):
    """Settings of scores.

    Parameters
    ----------
    dataset : str
    empty_masks : {'one', 'skip'}
        The score of an image whose mask and prediction are both empty is 1, or excluded from the mean. With several
        classes, this applies to each class that neither mask nor prediction of an image contains.
    source : Source
    """

    dataset: str
    empty_masks: EmptyMasks
    source: Source


class BaselineRecipe(FromSource):
    """Settings of a baseline.

    Parameters
    ----------
    dataset, split : str
        A split with masks; for the second observer, all samples need a mask of the second observer.
    kind : {'second-observer', 'all-background', 'resolution-ceiling'}
        The second observer's masks; zeros; or the masks, resized to the shard size like shards and back like
        predictions.
    size : (int, int) or 'native', optional
        Size of the data set, for the resolution ceiling.
    interpolation : {'area', 'linear'}, optional
        Interpolation with which shards resize soft masks.
    mask_resize : {'nearest', 'area'}, optional
        How shards resize class masks.
    source : Source
    """

    dataset: str
    split: str
    kind: Annotated[str, Choice(BASELINES)]
    size: Size | None = None
    interpolation: Interpolation | None = None
    mask_resize: MaskResize | None = None
    source: Source
