"""All kinds of results in the order of the pipeline: their paths, stages, recipes and inputs."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from pipeline.bundle.recipes import ExportRecipe
from pipeline.core import paths
from pipeline.core.fingerprint import canonical
from pipeline.core.options import Options
from pipeline.evaluation import methods
from pipeline.evaluation import recipes as evaluation
from pipeline.graph.base import (
    Artifact,
    DatasetArtifact,
    ExperimentArtifact,
    Inputs,
    Output,
    PredictionsArtifact,
    RawInput,
    paths_in,
)
from pipeline.graph.plan import NoRecipe, Stage
from pipeline.prediction.recipes import EnsembleRecipe, PredictRecipe, Run
from pipeline.raw.recipes import CheckRecipe, FoldsRecipe, SplitsRecipe
from pipeline.raw.samples import Sample
from pipeline.raw.splits.names import OUT_OF_FOLD, SPLITS, TEST, UNLABELLED, VALIDATION
from pipeline.report.recipes import AverageRecipe, CurvesRecipe, ReportRecipe
from pipeline.shards.recipes import ShardRecipe
from pipeline.training.recipes import AugmentedRecipe, TrainRecipe

if TYPE_CHECKING:
    from pipeline.graph.study import Study

INITIAL_WEIGHTS = "initial weights"
"""Name of the digest of the file that a training run starts from."""

SCORED = (VALIDATION, OUT_OF_FOLD, TEST)
"""Splits whose predictions are scored if they have samples."""

_DATASET, _EXPERIMENT, _SPLIT = "{dataset}", "{experiment}", "{split}"
_SAMPLE_INPUTS = {
    "train_shards": "shards of the training samples",
    "validation_shards": "shards of the validation samples",
    "folds": "table of folds, if the experiment has folds",
}

# -- raw data ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SplitTable(DatasetArtifact):
    """Table of the split and shard of each sample of data set {dataset}."""

    stage: ClassVar = Stage("splits", SplitsRecipe, "pipeline.raw.splits.table.write_splits")
    files: ClassVar = {"table": paths.splits(_DATASET)}

    def recipe(self, study: "Study") -> SplitsRecipe:
        return SplitsRecipe(dataset=self.dataset, source=study.source(self.dataset, *SPLITS, shards=True))

    def state(self, study: "Study") -> str:
        study.raw(self.dataset)  # raises an error if a file cannot be listed
        return canonical(study.split_digests(self.dataset))


@dataclass(frozen=True)
class FoldTable(DatasetArtifact):
    """Table of the fold of each sample of data set {dataset}, with {folds} folds."""

    stage: ClassVar = Stage("folds", FoldsRecipe, "pipeline.raw.splits.folds.write_folds")
    files: ClassVar = {"table": paths.folds(_DATASET, "{folds}")}

    folds: int

    def recipe(self, study: "Study") -> FoldsRecipe:
        sampling = study.datasets[self.dataset].sampling
        source = study.source(self.dataset, TEST)
        if sampling.stratify:
            source = source.changed(cache=str(paths.foreground_fractions(self.dataset)))
        return FoldsRecipe(dataset=self.dataset, folds=self.folds, sampling=sampling, source=source)

    def state(self, study: "Study") -> str:
        assignment = canonical(study.fold_assignment(self.dataset, self.folds))
        return hashlib.sha256(assignment.encode("utf-8", "surrogateescape")).hexdigest()[:16]


@dataclass(frozen=True)
class Check(DatasetArtifact):
    """Check of the raw files of data set {dataset}: reports in JSON and HTML, and contact sheet."""

    stage: ClassVar = Stage("check", CheckRecipe, "pipeline.raw.check.run.check_dataset")
    files: ClassVar = {
        "json": paths.check(_DATASET),
        "page": paths.check(_DATASET).with_suffix(".html"),
        "sheet": paths.check(_DATASET).with_suffix(".png"),
    }

    def recipe(self, study: "Study") -> CheckRecipe:
        data = study.datasets[self.dataset]
        source = study.source(self.dataset, *SPLITS, presentation=True)
        fields = {"normalize": data.normalize.method, "native": data.fixed_size is None}
        return data.to(CheckRecipe, dataset=self.dataset, source=source, **fields)

    def raw(self, study: "Study") -> RawInput:
        """Return the samples that can be listed; files that cannot be paired are reported by the check."""
        opened = study.opened(self.dataset)
        samples = [*(sample for split in SPLITS for sample in opened.dataset.splits[split]), *opened.unplaced]
        return RawInput(samples, ("files", "truth_files", "observer_files"))

    def state(self, study: "Study") -> str:
        """Return the samples of each split, problems of pairing, and unused files."""
        from pipeline.raw.check.ignored import unused_digest

        opened = study.opened(self.dataset)
        problems = sorted(map(str, opened.problems))
        return canonical(
            {"members": study.split_digests(self.dataset), "problems": problems, "unused": unused_digest(opened)}
        )


@dataclass(frozen=True)
class Shard(DatasetArtifact):
    """Shard {number} of the {split} samples of data set {dataset}."""

    stage: ClassVar = Stage("shard", ShardRecipe, "pipeline.shards.write.build_shard")
    files: ClassVar = {"shard": paths.shard(_DATASET, _SPLIT, "{number}")}
    stored: ClassVar = True

    split: str
    number: int

    def recipe(self, study: "Study") -> ShardRecipe:
        exclude = study.raw(self.dataset).exclusions(self.split, self.number)
        source = study.source(self.dataset, self.split, shards=True).changed(exclude=exclude)
        data = study.datasets[self.dataset]
        return data.to(ShardRecipe, dataset=self.dataset, split=self.split, source=source)

    def samples(self, study: "Study") -> list[Sample]:
        """Return the samples of the shard."""
        return study.raw(self.dataset).shard_members(self.split).get(self.number, [])

    def raw(self, study: "Study") -> RawInput:
        """Return its files without shared tables: a new row would change all shards; rows of samples count anyway."""
        return RawInput(self.samples(study), ("files",))

    def state(self, study: "Study") -> str:
        return study.raw(self.dataset).origin


@dataclass(frozen=True)
class Baseline(DatasetArtifact):
    """Baseline {kind} of the {split} samples of data set {dataset}, as predictions.

    A baseline needs no training: the masks of a second observer, empty masks, or resized masks.
    """

    stage: ClassVar = Stage("baseline", evaluation.BaselineRecipe, "pipeline.evaluation.baselines.write_baseline")
    files: ClassVar = {"folder": paths.prediction(methods.baseline_name(_DATASET, "{kind}"), _SPLIT) / "probability"}
    choices: ClassVar = {"split": SPLITS, "kind": methods.BASELINES}

    kind: str
    split: str

    @property
    def scored_as(self) -> str:
        """The name of the method in tables of scores."""
        return methods.baseline_name(self.dataset, self.kind)

    def is_configured(self, study: "Study") -> bool:
        return self.scored_as in study.baselines

    def recipe(self, study: "Study") -> evaluation.BaselineRecipe:
        data = study.datasets[self.dataset]
        settings = ("size", "interpolation", "mask_resize") if self.kind == methods.CEILING else ()
        resized = {name: getattr(data, name) for name in settings}
        fields = {"dataset": self.dataset, "split": self.split, "kind": self.kind}
        return evaluation.BaselineRecipe(**fields, source=study.source(self.dataset, self.split), **resized)

    def raw(self, study: "Study") -> RawInput:
        files = "observer_files" if self.kind == methods.OBSERVER else "truth_files"
        return RawInput(study.splits_of(self.scored_as)[self.split], (files,))


# -- networks ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Checkpoint(ExperimentArtifact):
    """Trained network of experiment {experiment}, with history and provenance."""

    stage: ClassVar = Stage("train", TrainRecipe, "pipeline.training.run.train")
    files: ClassVar = paths_in(
        paths.model(_EXPERIMENT), "best.pt", "last.pt", "history.csv", "timing.csv", "provenance.json"
    )
    input_descriptions: ClassVar = _SAMPLE_INPUTS
    stored: ClassVar = True

    def recipe(self, study: "Study") -> TrainRecipe:
        fold, background = study.fold_of(self.experiment), study.background(self.experiment)
        return study.experiments[self.experiment].to(TrainRecipe, fold=fold, background=background)

    def raw_digests(self, study: "Study") -> dict[str, str]:
        """Return the digest of the file whose weights the training run starts with, if any."""
        file = study.experiments[self.experiment].initial_file()
        return {} if file is None else {INITIAL_WEIGHTS: study.initial_digest(str(file))}

    def inputs(self, study: "Study") -> Inputs:
        return _training_inputs(study, self.experiment)


@dataclass(frozen=True)
class Augmented(ExperimentArtifact):
    """Rendering of augmented training samples of experiment {experiment}, for inspection before training."""

    stage: ClassVar = Stage("augmented", AugmentedRecipe, "pipeline.training.preview.preview")
    files: ClassVar = paths_in(paths.model(_EXPERIMENT), "augmented.png")
    input_descriptions: ClassVar = _SAMPLE_INPUTS

    def recipe(self, study: "Study") -> AugmentedRecipe:
        note, fold = study.origin_caption(self.experiment), study.fold_of(self.experiment)
        background = study.background(self.experiment)
        return study.experiments[self.experiment].to(AugmentedRecipe, fold=fold, background=background, note=note)

    def inputs(self, study: "Study") -> Inputs:
        samples = _training_inputs(study, self.experiment)
        # with folds, training samples are in both kinds of shards
        return samples if "folds" in samples else {"train_shards": samples["train_shards"]}


@dataclass(frozen=True)
class HistoryArtifact(ExperimentArtifact):
    """A result made from the history of a training run."""

    input_descriptions: ClassVar = {"history": "history.csv of the training run"}

    def inputs(self, study: "Study") -> Inputs:
        return {"history": [Checkpoint(self.experiment).output("history")]}


@dataclass(frozen=True)
class Curves(HistoryArtifact):
    """Learning curves of experiment {experiment}."""

    stage: ClassVar = Stage("curves", CurvesRecipe, "pipeline.report.curves.plot_curves")
    files: ClassVar = paths_in(paths.model(_EXPERIMENT), "curves.png")

    def recipe(self, study: "Study") -> CurvesRecipe:
        return CurvesRecipe(note=study.origin_caption(self.experiment))


@dataclass(frozen=True)
class Events(HistoryArtifact):
    """TensorBoard events of the training of experiment {experiment}."""

    stage: ClassVar = Stage("tensorboard", NoRecipe, "pipeline.report.tensorboard.write_events")
    files: ClassVar = {"events": paths.events(_EXPERIMENT)}

    def recipe(self, study: "Study") -> NoRecipe:
        return NoRecipe()


@dataclass(frozen=True)
class Predictions(PredictionsArtifact):
    """Predictions ({kind}) of the {split} samples by experiment {experiment}."""

    stage: ClassVar = Stage("predict", PredictRecipe, "pipeline.prediction.predict.predict")
    files: ClassVar = {"folder": paths.prediction(_EXPERIMENT, _SPLIT) / "{kind}"}
    input_descriptions: ClassVar = {
        "checkpoint": "checkpoint, best.pt or last.pt",
        "shards": "shards of the split",
        "train_shards": "training shards; needed if the experiment has folds, whose validation samples they hold",
        "folds": "table of folds, if the experiment has folds",
    }

    def recipe(self, study: "Study") -> PredictRecipe:
        fold = study.fold_of(self.experiment) if self.split == VALIDATION else None
        experiment = study.experiments[self.experiment]
        bits = experiment.probability_bits if self.kind == "probability" else 8
        return experiment.to(PredictRecipe, split=self.split, kind=self.kind, fold=fold, probability_bits=bits)

    def inputs(self, study: "Study") -> Inputs:
        name = study.experiments[self.experiment].predict_with
        network = {"checkpoint": [Checkpoint(self.experiment).output(name)]}
        samples = _training_inputs(study, self.experiment)
        if self.split == VALIDATION and "folds" in samples:
            shards = {**samples, "shards": samples.get("validation_shards", [])}
            return {**network, **{name: shards.get(name, []) for name in ("shards", "train_shards", "folds")}}
        return {**network, "shards": _shards(study, study.dataset_of(self.experiment), self.split)}


@dataclass(frozen=True)
class Ensemble(PredictionsArtifact):
    """Predictions ({kind}) of the {split} samples by the ensemble of experiment {experiment}.

    The mean of the predictions of all its runs; out-of-fold, of the runs that were not trained on a sample.
    """

    stage: ClassVar = Stage("ensemble", EnsembleRecipe, "pipeline.prediction.ensemble.average_predictions")
    files: ClassVar = {"folder": paths.prediction(methods.ensemble_name(_EXPERIMENT), _SPLIT) / "{kind}"}
    choices: ClassVar = {"split": (*SPLITS, OUT_OF_FOLD), "kind": ("probability", "mask")}
    names_attribute: ClassVar = "ensemble_experiments"
    input_descriptions: ClassVar = {
        "predictions": "probabilities of each run, sorted by the names of the runs",
        "folds": "table of folds, for out-of-fold predictions",
    }

    @property
    def scored_as(self) -> str:
        return methods.ensemble_name(self.experiment)

    def recipe(self, study: "Study") -> EnsembleRecipe:
        dataset, names = study.dataset_of(self.scored_as), study.ensembles[self.scored_as]
        runs = {name: Run(seed=study.experiments[name].seed, fold=study.fold_of(name)) for name in names}
        classes = study.datasets[dataset].layout_options.class_names() if study.multiclass(self.scored_as) else None
        return EnsembleRecipe(dataset=dataset, split=self.split, kind=self.kind, runs=runs, classes=classes)

    def inputs(self, study: "Study") -> Inputs:
        runs = sorted(study.ensembles[self.scored_as])
        split = VALIDATION if self.split == OUT_OF_FOLD else self.split
        inputs = {"predictions": [Predictions(run, split, "probability").output() for run in runs]}
        return {**inputs, "folds": fold_table_of(study, runs[0])} if self.split == OUT_OF_FOLD else inputs


# -- predictions -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Threshold(ExperimentArtifact):
    """Decision threshold of experiment {experiment}."""

    stage: ClassVar = Stage("threshold", evaluation.ThresholdRecipe, "pipeline.evaluation.choice.choose_threshold")
    files: ClassVar = {"threshold": paths.threshold(_EXPERIMENT)}
    names_attribute: ClassVar = "binary_methods"
    input_descriptions: ClassVar = {"predictions": "probabilities of the validation samples"}

    def recipe(self, study: "Study") -> evaluation.ThresholdRecipe:
        dataset, experiment = study.dataset_of(self.experiment), study.experiment_of(self.experiment)
        if experiment is None or isinstance(experiment.threshold, float):
            return evaluation.ThresholdRecipe(
                dataset=dataset, fixed=0.5 if experiment is None else experiment.threshold
            )
        criterion = evaluation.ChosenThreshold() if isinstance(experiment.threshold, str) else experiment.threshold
        split = study.validation_split(self.experiment)
        empty = {"empty_masks": study.empty_masks(self.experiment)} if criterion.depends_on_empty else {}
        source = study.source_of(self.experiment, split)
        return evaluation.ThresholdRecipe(dataset=dataset, criterion=criterion, split=split, source=source, **empty)

    def inputs(self, study: "Study") -> Inputs:
        if not study.chooses_threshold(self.experiment):
            return {}
        return {
            "predictions": [predictions_of(study, self.experiment, study.validation_split(self.experiment)).output()]
        }

    def raw(self, study: "Study") -> RawInput:
        if not study.chooses_threshold(self.experiment):
            return RawInput()
        return RawInput(study.splits_of(self.experiment)[study.validation_split(self.experiment)], ("truth_files",))


@dataclass(frozen=True)
class Renderings(ExperimentArtifact):
    """Renderings of the {split} samples of experiment {experiment}: masks, overlays, panels and a sheet."""

    stage: ClassVar = Stage("render", evaluation.RenderRecipe, "pipeline.evaluation.renderings.render")
    files: ClassVar = paths_in(paths.prediction(_EXPERIMENT, _SPLIT), "mask", "overlay", "panel", "sheet.png")
    choices: ClassVar = {"split": (*SPLITS, OUT_OF_FOLD)}
    names_attribute: ClassVar = "binary_methods"
    input_descriptions: ClassVar = {"predictions": "probabilities of the split", "threshold": "file of the threshold"}

    split: str

    @classmethod
    def for_command(cls, study: "Study", **fields: Any) -> Artifact:
        return renderings_of(study, fields["experiment"], fields["split"])

    def recipe(self, study: "Study") -> evaluation.RenderRecipe:
        source = study.source_of(self.experiment, self.split, presentation=True)
        return evaluation.RenderRecipe(dataset=study.dataset_of(self.experiment), split=self.split, source=source)

    def inputs(self, study: "Study") -> Inputs:
        predictions = [predictions_of(study, self.experiment, self.split).output()]
        return {"predictions": predictions, "threshold": [Threshold(self.experiment).output()]}

    def raw(self, study: "Study") -> RawInput:
        return RawInput(study.splits_of(self.experiment)[self.split], ("files", "truth_files"))


@dataclass(frozen=True)
class ClassRenderings(Renderings):
    """Renderings of the {split} samples of experiment {experiment}: classes, overlays, panels and a sheet."""

    stage: ClassVar = Stage(
        "render_classes", evaluation.RenderRecipe, "pipeline.evaluation.class_renderings.render_classes"
    )
    files: ClassVar = paths_in(
        paths.prediction(_EXPERIMENT, _SPLIT), "colour", "overlay", "panel", "legend.png", "sheet.png"
    )
    names_attribute: ClassVar = "multiclass_methods"
    input_descriptions: ClassVar = {"predictions": "class indices of the split"}

    def inputs(self, study: "Study") -> Inputs:
        return {"predictions": [predictions_of(study, self.experiment, self.split).output()]}


@dataclass(frozen=True)
class Submission(ExperimentArtifact):
    """Submission of experiment {experiment}: predictions of unlabelled samples in the format of the challenge."""

    stage: ClassVar = Stage(
        "submission", evaluation.SubmissionRecipe, "pipeline.evaluation.submission.write_submission"
    )
    files: ClassVar = {"folder": paths.submission(_EXPERIMENT)}
    input_descriptions: ClassVar = {
        "predictions": "probabilities of the unlabelled samples",
        "threshold": "file of the threshold",
    }

    @classmethod
    def names(cls, study: "Study") -> Iterable[str]:
        return [name for name in study.binary_methods if not methods.is_baseline(name)]

    def recipe(self, study: "Study") -> evaluation.SubmissionRecipe:
        dataset = study.dataset_of(self.experiment)
        source = study.source(dataset, UNLABELLED, presentation=True)
        return evaluation.SubmissionRecipe(dataset=dataset, source=source)

    def inputs(self, study: "Study") -> Inputs:
        predictions = [predictions_of(study, self.experiment, UNLABELLED).output()]
        return {"predictions": predictions, "threshold": [Threshold(self.experiment).output()]}

    def raw(self, study: "Study") -> RawInput:
        return RawInput(study.splits_of(self.experiment)[UNLABELLED], ("files",))


@dataclass(frozen=True)
class Scores(ExperimentArtifact):
    """Scores of experiment {experiment}."""

    stage: ClassVar = Stage("evaluate", evaluation.EvaluateRecipe, "pipeline.evaluation.evaluate.evaluate")
    files: ClassVar = paths_in(paths.metrics(_EXPERIMENT), "per_image.csv", "summary.csv", "intervals.csv", "curve.csv")
    names_attribute: ClassVar = "binary_methods"
    input_descriptions: ClassVar = {
        "validation_predictions": "probabilities of the validation samples, or class indices with several classes",
        "out_of_fold_predictions": "probabilities or class indices of all but the test samples, by an ensemble",
        "test_predictions": "probabilities or class indices of the test samples",
        "threshold": "file of the threshold, or a number in [0, 1)",
    }
    optional_inputs: ClassVar = frozenset(("validation_predictions", "out_of_fold_predictions", "test_predictions"))

    @classmethod
    def for_command(cls, study: "Study", **fields: Any) -> Artifact:
        return scores_of(study, fields["experiment"])

    def recipe(self, study: "Study") -> evaluation.EvaluateRecipe:
        source = study.source_of(self.experiment, study.validation_split(self.experiment), TEST)
        policy = study.empty_masks(self.experiment)
        return evaluation.EvaluateRecipe(dataset=study.dataset_of(self.experiment), empty_masks=policy, source=source)

    def inputs(self, study: "Study") -> Inputs:
        predictions = {
            f"{split.replace('-', '_')}_predictions": [predictions_of(study, self.experiment, split).output()]
            for split in study.scored_splits(self.experiment)
        }
        threshold = (
            {"threshold": [Threshold(self.experiment).output()]} if "threshold" in self.input_descriptions else {}
        )
        return {**predictions, **threshold}

    def raw(self, study: "Study") -> RawInput:
        samples, splits = study.splits_of(self.experiment), study.scored_splits(self.experiment)
        return RawInput([sample for split in splits for sample in samples[split]], ("truth_files",))


@dataclass(frozen=True)
class ClassScores(Scores):
    """Multi-class scores of experiment {experiment}."""

    stage: ClassVar = Stage(
        "evaluate_classes", evaluation.EvaluateRecipe, "pipeline.evaluation.evaluate_classes.evaluate_classes"
    )
    files: ClassVar = paths_in(
        paths.metrics(_EXPERIMENT), "per_image.csv", "summary.csv", "intervals.csv", "confusion.csv"
    ) | {"image": paths.metrics(_EXPERIMENT) / "confusion.png"}
    names_attribute: ClassVar = "multiclass_methods"
    input_descriptions: ClassVar = {
        name: text for name, text in Scores.input_descriptions.items() if name != "threshold"
    }


# -- all methods -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bundle(ExperimentArtifact):
    """Bundle of experiment {experiment}: its networks, a program that runs them anywhere, and a model card."""

    stage: ClassVar = Stage("export", ExportRecipe, "pipeline.bundle.export.export_experiment")
    files: ClassVar = {"bundle": paths.bundle(_EXPERIMENT)}
    input_descriptions: ClassVar = {
        "checkpoints": "checkpoint of each run, best.pt or last.pt",
        "provenance": "provenance of each run",
        "threshold": "file of the threshold, with two classes",
        "intervals": "scores with intervals, for the model card",
    }
    optional_inputs: ClassVar = frozenset(("provenance", "intervals"))

    @classmethod
    def names(cls, study: "Study") -> Iterable[str]:
        return [name for name in study.methods if not methods.is_baseline(name)]

    def recipe(self, study: "Study") -> ExportRecipe:
        split = self._split(study)
        source = study.source_of(self.experiment, split, presentation=True)
        experiment = study.experiment_of(self.experiment)
        assert experiment is not None
        return experiment.to(ExportRecipe, source=source, split=split)

    def inputs(self, study: "Study") -> Inputs:
        runs = sorted(study.ensembles.get(self.experiment, [self.experiment]))
        inputs: dict[str, Sequence[Output]] = {
            "checkpoints": [Checkpoint(run).output(study.experiments[run].predict_with) for run in runs],
            "provenance": [Checkpoint(run).output("provenance") for run in runs],
        }
        if not study.multiclass(self.experiment):
            inputs["threshold"] = [Threshold(self.experiment).output()]
        if TEST in study.scored_splits(self.experiment):
            inputs["intervals"] = [scores_of(study, self.experiment).output("intervals")]
        return inputs

    def raw(self, study: "Study") -> RawInput:
        return RawInput(study.splits_of(self.experiment)[self._split(study)], ("files",))

    def _split(self, study: "Study") -> str:
        """Return the split whose images are compared: the test samples, else those of the first split that has some."""
        splits = study.splits_of(self.experiment)
        return next((split for split in (TEST, VALIDATION, UNLABELLED) if splits[split]), TEST)


@dataclass(frozen=True)
class Average(ExperimentArtifact):
    """Mean and spread of the scores of experiment {experiment} over its runs."""

    stage: ClassVar = Stage("average", AverageRecipe, "pipeline.report.average.average_runs")
    files: ClassVar = paths_in(paths.metrics(_EXPERIMENT), "summary.csv")
    names_attribute: ClassVar = "runs"
    input_descriptions: ClassVar = {"summaries": "summary.csv of each run, in the order of the configuration"}

    def recipe(self, study: "Study") -> AverageRecipe:
        runs = study.runs[self.experiment]
        return AverageRecipe(runs=tuple(runs), folds=study.fold_of(runs[0]) is not None)

    def inputs(self, study: "Study") -> Inputs:
        return {"summaries": [scores_of(study, run).output("summary") for run in study.runs[self.experiment]]}


@dataclass(frozen=True)
class OverallArtifact(Artifact):
    """A result about all methods."""

    def recipe(self, study: "Study") -> Options:
        return NoRecipe()


@dataclass(frozen=True)
class Comparisons(OverallArtifact):
    """Paired comparisons, image by image, of all networks, ensembles and baselines."""

    stage: ClassVar = Stage("comparisons", NoRecipe, "pipeline.report.comparisons.compare_methods")
    files: ClassVar = {"table": paths.comparisons()}
    input_descriptions: ClassVar = {"per_image": "per_image.csv of each method"}
    optional_inputs: ClassVar = frozenset(input_descriptions)

    def inputs(self, study: "Study") -> Inputs:
        return {"per_image": [scores_of(study, name).output("per_image") for name in study.scored_methods()]}


@dataclass(frozen=True)
class Leaderboard(OverallArtifact):
    """Table of the scores of all methods."""

    stage: ClassVar = Stage("leaderboard", NoRecipe, "pipeline.report.leaderboard.build_leaderboard")
    files: ClassVar = {"table": paths.leaderboard()}
    input_descriptions: ClassVar = {
        "summaries": "summary.csv files",
        "checks": "results/check/DATASET.json files, for the column `leak`",
    }
    optional_inputs: ClassVar = frozenset(("checks",))

    def inputs(self, study: "Study") -> Inputs:
        tables = [*(scores_of(study, name) for name in study.scored_methods()), *averages_of(study)]
        datasets = dict.fromkeys(study.dataset_of(name) for name in study.scored_methods())
        return {
            "summaries": [table.output("summary") for table in tables],
            "checks": [Check(name).output() for name in datasets],
        }


@dataclass(frozen=True)
class Report(OverallArtifact):
    """HTML report on all data sets, experiments and scores."""

    stage: ClassVar = Stage("report", ReportRecipe, "pipeline.report.build.build_report", assets="report/assets")
    files: ClassVar = {"page": paths.report()}
    input_descriptions: ClassVar = {
        "leaderboard": "table of all scores",
        "comparisons": "table of paired comparisons",
        "intervals": "intervals.csv files",
        "checks": "reports of checks; by default, like `trainings` and `images`, those that exist and are current",
        "trainings": "history.csv files",
        "images": "folders of renderings of test samples",
    }
    optional_inputs: ClassVar = frozenset(input_descriptions) - {"leaderboard"}

    def recipe(self, study: "Study") -> ReportRecipe:
        datasets = {name: study.source(name, TEST, presentation=True) for name in study.datasets}
        return ReportRecipe(datasets=datasets, experiments={name: study.dataset_of(name) for name in study.experiments})

    def inputs(self, study: "Study") -> Inputs:
        """Return the results that it shows; one output of each job represents all of them."""
        scores = [scores_of(study, name) for name in study.scored_methods()]
        return {
            "leaderboard": [Leaderboard().output()],
            "comparisons": [Comparisons().output()],
            "intervals": [result.output("intervals") for result in scores],
            "checks": [Check(name).output() for name in study.datasets],
            "trainings": [Checkpoint(name).output("history") for name in study.experiments],
            "images": _rendered_test_samples(study),
        }


# -- selection --------------------------------------------------------------------------------------------------------


@cache
def _shards(study: "Study", dataset: str, split: str) -> Sequence[Output]:
    return tuple(Shard(dataset, split, number).output() for number in study.raw(dataset).shard_members(split))


def fold_table_of(study: "Study", run: str) -> list[Output]:
    """Return the table of folds of a run as a list; empty without folds."""
    fold = study.fold_of(run)
    return [] if fold is None else [FoldTable(study.dataset_of(run), fold.folds).output()]


def _training_inputs(study: "Study", experiment: str) -> dict[str, Sequence[Output]]:
    """Return the inputs of a training run: shards, and with folds the table of folds."""
    dataset = study.dataset_of(experiment)
    shards = {f"{split}_shards": _shards(study, dataset, split) for split in ("train", VALIDATION)}
    table = fold_table_of(study, experiment)
    return {**shards, "folds": table} if table else shards


def predictions_of(study: "Study", name: str, split: str, kind: str | None = None) -> Artifact:
    """Return predictions of a split; without `kind`, those that scores and renderings are made from."""
    owner, method_kind = methods.parse_method_name(name)
    if methods.is_baseline(name):
        return Baseline(owner, method_kind, split)
    kind = kind or ("mask" if study.multiclass(name) else "probability")
    return Ensemble(owner, split, kind) if method_kind == methods.ENSEMBLE else Predictions(name, split, kind)


def scores_of(study: "Study", name: str) -> Scores:
    """Return the scores of an experiment, ensemble or baseline."""
    return ClassScores(name) if study.multiclass(name) else Scores(name)


def renderings_of(study: "Study", name: str, split: str) -> Renderings:
    """Return the renderings of a split."""
    return ClassRenderings(name, split) if study.multiclass(name) else Renderings(name, split)


def averages_of(study: "Study") -> list[Average]:
    """Return the averages over the runs of scored experiments; of an experiment, all runs are scored or none."""
    return [Average(name) for name, runs in study.runs.items() if any(map(study.scored_splits, runs))]


def _rendered_test_samples(study: "Study") -> list[Output]:
    """Return the test panels of all rendered methods, and their class predictions if there are several classes."""
    outputs: list[Output] = []
    for name in filter(study.is_rendered, study.scored_methods()):
        if TEST in study.scored_splits(name):
            predictions = [predictions_of(study, name, TEST).output()] if study.multiclass(name) else []
            outputs += [*predictions, renderings_of(study, name, TEST).output("panel")]
    return outputs


KINDS: tuple[type[Artifact], ...] = (
    *(SplitTable, FoldTable, Check, Shard, Checkpoint, Augmented, Curves, Events, Predictions, Ensemble, Baseline),
    *(
        Threshold,
        Renderings,
        ClassRenderings,
        Submission,
        Scores,
        ClassScores,
        Bundle,
        Average,
        Comparisons,
        Leaderboard,
        Report,
    ),
)
"""Every kind of result."""

STAGES = {kind.stage.name: kind.stage for kind in KINDS}
"""The stages by name."""
