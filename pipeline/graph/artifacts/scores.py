"""Results of predictions: thresholds, pictures, submissions and scores, of networks, ensembles and baselines."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pipeline.core import paths
from pipeline.evaluation import entrants
from pipeline.evaluation.recipes import (
    ChosenThreshold,
    EvaluateRecipe,
    RenderRecipe,
    SubmissionRecipe,
    ThresholdRecipe,
)
from pipeline.graph.artifacts.base import Needs, OfExperiment, Output, files_of
from pipeline.raw.splits.names import OUT_OF_FOLD, SPLITS, TEST, UNLABELLED, VALIDATION

if TYPE_CHECKING:
    from pipeline.graph.study import Study


SCORED = (VALIDATION, OUT_OF_FOLD, TEST)
"""Splits whose predictions are scored, where they have samples."""


@dataclass(frozen=True)
class Threshold(OfExperiment):
    """The threshold that makes masks of probabilities."""

    stage: ClassVar = "threshold"
    parts: ClassVar = {"predictions": "probabilities of the validation samples"}

    def outputs(self) -> dict[str, Path]:
        return {"threshold": paths.threshold(self.experiment)}

    @property
    def what(self) -> str:
        return f"threshold of experiment {self.experiment}"

    @classmethod
    def names(cls, study: "Study") -> Iterable[str]:
        return study.two_classes

    def recipe(self, study: "Study") -> ThresholdRecipe:
        dataset, said = study.dataset_of(self.experiment), study.recipe_of(self.experiment)
        if said is None or isinstance(said.threshold, float):
            return ThresholdRecipe(dataset=dataset, fixed=0.5 if said is None else said.threshold)
        chosen = said.threshold if isinstance(said.threshold, ChosenThreshold) else ChosenThreshold()
        split = study.validated_on(self.experiment)
        empty = {"empty_masks": said.empty_masks} if chosen.depends_on_empty else {}
        source = study.source_of(self.experiment, split)
        return ThresholdRecipe(dataset=dataset, chosen=chosen, split=split, source=source, **empty)

    def needs(self, study: "Study") -> Needs:
        if not study.chooses_threshold(self.experiment):
            return {}
        return {"predictions": [study.predictions(self.experiment, study.validated_on(self.experiment)).output()]}

    def raw_files(self, study: "Study") -> list[str]:
        if not study.chooses_threshold(self.experiment):
            return []
        return files_of(study.splits_of(self.experiment)[study.validated_on(self.experiment)], "truth_files")


@dataclass(frozen=True)
class Pictures(OfExperiment):
    """The pictures of a split, of two classes: masks, overlays, panels, and a sheet of some of them."""

    stage: ClassVar = "render"
    choices: ClassVar = {"split": (*SPLITS, OUT_OF_FOLD)}
    parts: ClassVar = {"predictions": "probabilities of the split", "threshold": "file of the threshold"}

    split: str

    def outputs(self) -> dict[str, Path]:
        names = ("mask", "overlay", "panel", "sheet.png")
        return {name.partition(".")[0]: paths.prediction(self.experiment, self.split) / name for name in names}

    @property
    def signature(self) -> Path:
        return self.outputs()["overlay"]

    @property
    def what(self) -> str:
        return f"pictures of the {self.split} samples of experiment {self.experiment}"

    @classmethod
    def names(cls, study: "Study") -> Iterable[str]:
        return study.two_classes

    def recipe(self, study: "Study") -> RenderRecipe:
        source = study.source_of(self.experiment, self.split, presentation=True)
        return RenderRecipe(dataset=study.dataset_of(self.experiment), split=self.split, source=source)

    def needs(self, study: "Study") -> Needs:
        predictions = [study.predictions(self.experiment, self.split).output()]
        return {"predictions": predictions, "threshold": [Threshold(self.experiment).output()]}

    def raw_files(self, study: "Study") -> list[str]:
        samples = study.splits_of(self.experiment)[self.split]
        return list(dict.fromkeys([*files_of(samples, "files"), *files_of(samples, "truth_files")]))


@dataclass(frozen=True)
class ClassPictures(Pictures):
    """The pictures of a split, of several classes."""

    stage: ClassVar = "render_classes"
    parts: ClassVar = {"predictions": "class indices of the split"}

    def outputs(self) -> dict[str, Path]:
        names = ("colour", "overlay", "panel", "legend.png", "sheet.png")
        return {name.partition(".")[0]: paths.prediction(self.experiment, self.split) / name for name in names}

    @classmethod
    def names(cls, study: "Study") -> Iterable[str]:
        return study.several_classes

    def needs(self, study: "Study") -> Needs:
        return {"predictions": [study.predictions(self.experiment, self.split).output()]}


@dataclass(frozen=True)
class Submission(OfExperiment):
    """Predictions of the unlabelled samples, as the challenge of the data set takes them."""

    stage: ClassVar = "submission"
    parts: ClassVar = {"predictions": "probabilities of the unlabelled samples", "threshold": "file of the threshold"}
    signed: ClassVar = False

    def outputs(self) -> dict[str, Path]:
        return {"folder": paths.submission(self.experiment)}

    @property
    def what(self) -> str:
        return f"submission of experiment {self.experiment}"

    @classmethod
    def names(cls, study: "Study") -> Iterable[str]:
        return [name for name in study.two_classes if not entrants.is_baseline(name)]

    def recipe(self, study: "Study") -> SubmissionRecipe:
        dataset = study.dataset_of(self.experiment)
        return SubmissionRecipe(dataset=dataset, source=study.source(dataset, UNLABELLED, presentation=True))

    def needs(self, study: "Study") -> Needs:
        predictions = [study.predictions(self.experiment, UNLABELLED).output()]
        return {"predictions": predictions, "threshold": [Threshold(self.experiment).output()]}

    def raw_files(self, study: "Study") -> list[str]:
        return files_of(study.splits_of(self.experiment)[UNLABELLED], "files")


@dataclass(frozen=True)
class Scores(OfExperiment):
    """The scores of a network, an ensemble or a baseline, of two classes."""

    stage: ClassVar = "evaluate"
    parts: ClassVar = {
        "validation_predictions": "probabilities of the validation samples",
        "out_of_fold_predictions": "those of all samples that are no test samples, of an ensemble of folds",
        "test_predictions": "those of the test samples",
        "threshold": "file of the threshold, or a number",
    }
    more: ClassVar[tuple[str, ...]] = ("curve.csv",)

    def outputs(self) -> dict[str, Path]:
        names = ("per_image.csv", "summary.csv", "intervals.csv", *self.more, "fingerprint.json")
        folder = self.signature
        return {"picture" if name.endswith(".png") else name.partition(".")[0]: folder / name for name in names}

    @property
    def signature(self) -> Path:
        return paths.metrics(self.experiment)

    @property
    def what(self) -> str:
        return f"scores of experiment {self.experiment}"

    @classmethod
    def names(cls, study: "Study") -> Iterable[str]:
        return study.two_classes

    def recipe(self, study: "Study") -> EvaluateRecipe:
        source = study.source_of(self.experiment, study.validated_on(self.experiment), TEST)
        policy = study.empty_masks(self.experiment)
        return EvaluateRecipe(dataset=study.dataset_of(self.experiment), empty_masks=policy, source=source)

    def needs(self, study: "Study") -> Needs:
        return {**self._predictions(study), "threshold": [Threshold(self.experiment).output()]}

    def _predictions(self, study: "Study") -> dict[str, list[Output]]:
        return {
            f"{split.replace('-', '_')}_predictions": [study.predictions(self.experiment, split).output()]
            for split in study.scored_splits(self.experiment)
        }

    def raw_files(self, study: "Study") -> list[str]:
        samples, splits = study.splits_of(self.experiment), study.scored_splits(self.experiment)
        return files_of([sample for split in splits for sample in samples[split]], "truth_files")


@dataclass(frozen=True)
class ClassScores(Scores):
    """The scores of a network or an ensemble, of several classes."""

    stage: ClassVar = "evaluate_classes"
    parts: ClassVar = {
        "validation_predictions": "class indices of the validation samples",
        "out_of_fold_predictions": "those of all samples that are no test samples, of an ensemble of folds",
        "test_predictions": "those of the test samples",
    }
    more: ClassVar = ("confusion.csv", "confusion.png")

    @classmethod
    def names(cls, study: "Study") -> Iterable[str]:
        return study.several_classes

    def needs(self, study: "Study") -> Needs:
        return self._predictions(study)
