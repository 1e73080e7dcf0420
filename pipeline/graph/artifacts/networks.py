"""Results of networks: checkpoints and what shows their training, predictions, and ensembles."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pipeline.core import paths
from pipeline.evaluation import entrants
from pipeline.graph.artifacts.base import Needs, OfExperiment
from pipeline.graph.stages import NoRecipe
from pipeline.prediction.recipes import EnsembleRecipe, PredictRecipe, Run
from pipeline.raw.splits.names import OUT_OF_FOLD, SPLITS, VALIDATION
from pipeline.report.recipes import CurvesRecipe
from pipeline.training.recipes import AugmentedRecipe, TrainRecipe

if TYPE_CHECKING:
    from pipeline.graph.study import Study


_SAMPLES = {
    "train_shards": "shards of the training samples",
    "validation_shards": "shards of the validation samples",
    "folds": "table of folds, where the experiment has some",
}


@dataclass(frozen=True)
class Checkpoint(OfExperiment):
    """A trained network, and how it was trained."""

    stage: ClassVar = "train"
    parts: ClassVar = _SAMPLES

    def outputs(self) -> dict[str, Path]:
        files = ("best.pt", "last.pt", "history.csv", "timing.csv", "provenance.json")
        return {name.partition(".")[0]: paths.model(self.experiment) / name for name in files}

    @property
    def what(self) -> str:
        return f"network of experiment {self.experiment}, and how it was trained"

    def recipe(self, study: "Study") -> TrainRecipe:
        return study.experiments[self.experiment].to(TrainRecipe, fold=study.fold_of(self.experiment))

    def needs(self, study: "Study") -> Needs:
        return study.samples(self.experiment)


@dataclass(frozen=True)
class Augmented(OfExperiment):
    """A picture of augmented training samples, to look at before training."""

    stage: ClassVar = "augmented"
    parts: ClassVar = _SAMPLES
    signed: ClassVar = False

    def outputs(self) -> dict[str, Path]:
        return {"picture": paths.model(self.experiment) / "augmented.png"}

    @property
    def what(self) -> str:
        return f"picture of augmented training samples of experiment {self.experiment}"

    def recipe(self, study: "Study") -> AugmentedRecipe:
        note, fold = study.note(self.experiment), study.fold_of(self.experiment)
        return study.experiments[self.experiment].to(AugmentedRecipe, fold=fold, note=note)

    def needs(self, study: "Study") -> Needs:
        samples = study.samples(self.experiment)
        # what is validated on elsewhere is trained on in some fold
        return samples if "folds" in samples else {"train_shards": samples["train_shards"]}


@dataclass(frozen=True)
class Curves(OfExperiment):
    """Loss and score over the epochs."""

    stage: ClassVar = "curves"
    parts: ClassVar = {"history": "history.csv of the training"}
    signed: ClassVar = False
    verified: ClassVar = False

    def outputs(self) -> dict[str, Path]:
        return {"picture": paths.model(self.experiment) / "curves.png"}

    @property
    def what(self) -> str:
        return f"learning curves of experiment {self.experiment}"

    def recipe(self, study: "Study") -> CurvesRecipe:
        return CurvesRecipe(note=study.note(self.experiment))

    def needs(self, study: "Study") -> Needs:
        return {"history": [Checkpoint(self.experiment).output("history")]}


@dataclass(frozen=True)
class Events(OfExperiment):
    """The history of a training for TensorBoard."""

    stage: ClassVar = "tensorboard"
    parts: ClassVar = {"history": "history.csv of the training"}
    signed: ClassVar = False
    verified: ClassVar = False

    def outputs(self) -> dict[str, Path]:
        return {"events": paths.events(self.experiment)}

    @property
    def what(self) -> str:
        return f"history of the training of experiment {self.experiment}, for TensorBoard"

    def recipe(self, study: "Study") -> NoRecipe:
        return NoRecipe()

    def needs(self, study: "Study") -> Needs:
        return {"history": [Checkpoint(self.experiment).output("history")]}


@dataclass(frozen=True)
class Predictions(OfExperiment):
    """What a network predicts for a split: probabilities, or class indices."""

    stage: ClassVar = "predict"
    choices: ClassVar = {"split": SPLITS, "kind": ("probability", "mask")}
    parts: ClassVar = {
        "checkpoint": "network, best.pt",
        "shards": "shards of the split",
        "train_shards": "of a fold, the shards that the rest of its samples lie in",
        "folds": "table of folds, where the experiment has some",
    }

    split: str
    kind: str

    def outputs(self) -> dict[str, Path]:
        return {"folder": paths.prediction(self.experiment, self.split) / self.kind}

    @property
    def what(self) -> str:
        return f"{self.kind} of the {self.split} samples of experiment {self.experiment}"

    def is_known(self, study: "Study") -> bool:
        return super().is_known(study) and (self.kind == "probability" or study.multiclass(self.experiment))

    def recipe(self, study: "Study") -> PredictRecipe:
        fold = study.fold_of(self.experiment) if self.split == VALIDATION else None
        said = study.experiments[self.experiment]
        return said.to(PredictRecipe, split=self.split, kind=self.kind, fold=fold)

    def needs(self, study: "Study") -> Needs:
        network = {"checkpoint": [Checkpoint(self.experiment).output()]}
        samples = study.samples(self.experiment)
        if self.split == VALIDATION and "folds" in samples:
            shards = {**samples, "shards": samples.get("validation_shards", [])}
            return {**network, **{part: shards.get(part, []) for part in ("shards", "train_shards", "folds")}}
        return {**network, "shards": study.shards(study.dataset_of(self.experiment), self.split)}


@dataclass(frozen=True)
class Ensemble(OfExperiment):
    """The mean of what all runs of an experiment predict; out-of-fold, by those that have not seen a sample."""

    stage: ClassVar = "ensemble"
    choices: ClassVar = {"split": (*SPLITS, OUT_OF_FOLD), "kind": ("probability", "mask")}
    parts: ClassVar = {
        "predictions": "probabilities of each run, in the order of the names of the runs",
        "folds": "table of folds, for out-of-fold predictions",
    }

    split: str
    kind: str

    @property
    def scored_as(self) -> str:
        """The name under which it is scored."""
        return entrants.ensemble_name(self.experiment)

    def outputs(self) -> dict[str, Path]:
        return {"folder": paths.prediction(self.scored_as, self.split) / self.kind}

    @property
    def what(self) -> str:
        return f"{self.kind} of the {self.split} samples of the ensemble of experiment {self.experiment}"

    @classmethod
    def names(cls, study: "Study") -> Iterable[str]:
        return [entrants.split_name(name)[0] for name in study.ensembles]

    def is_known(self, study: "Study") -> bool:
        return super().is_known(study) and (self.kind == "probability" or study.multiclass(self.scored_as))

    def recipe(self, study: "Study") -> EnsembleRecipe:
        dataset = study.dataset_of(self.scored_as)
        names = study.ensembles[self.scored_as]
        runs = {name: Run(seed=study.experiments[name].seed, fold=study.fold_of(name)) for name in names}
        classes = study.config.datasets[dataset].files.class_names() if study.multiclass(self.scored_as) else None
        return EnsembleRecipe(dataset=dataset, split=self.split, kind=self.kind, runs=runs, classes=classes)

    def needs(self, study: "Study") -> Needs:
        runs = sorted(study.ensembles[self.scored_as])
        split = VALIDATION if self.split == OUT_OF_FOLD else self.split
        needs = {"predictions": [Predictions(run, split, "probability").output() for run in runs]}
        return {**needs, "folds": study.fold_table(runs[0])} if self.split == OUT_OF_FOLD else needs
