"""Results of several experiments: averages, comparisons, the leaderboard and the page; and all kinds of results."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pipeline.core import paths
from pipeline.graph.artifacts.base import Artifact, Needs, OfExperiment, Output
from pipeline.graph.artifacts.data import Baseline, Check, FoldTable, Shard, SplitTable
from pipeline.graph.artifacts.networks import Augmented, Checkpoint, Curves, Ensemble, Events, Predictions
from pipeline.graph.artifacts.scores import ClassPictures, ClassScores, Pictures, Scores, Submission, Threshold
from pipeline.graph.stages import NoRecipe
from pipeline.raw.splits.names import TEST
from pipeline.report.recipes import AverageRecipe, ReportRecipe

if TYPE_CHECKING:
    from pipeline.graph.study import Study


@dataclass(frozen=True)
class Average(OfExperiment):
    """Mean and spread of the scores of an experiment over its runs."""

    stage: ClassVar = "average"
    parts: ClassVar = {"summaries": "summary.csv of each run, in the order of the runs"}
    signed: ClassVar = False
    verified: ClassVar = False

    def outputs(self) -> dict[str, Path]:
        return {"summary": paths.metrics(self.experiment) / "summary.csv"}

    @property
    def what(self) -> str:
        return f"mean and spread of the scores of experiment {self.experiment} over its runs"

    @classmethod
    def names(cls, study: "Study") -> Iterable[str]:
        return study.seeded

    def recipe(self, study: "Study") -> AverageRecipe:
        runs = study.seeded[self.experiment]
        return AverageRecipe(runs=tuple(runs), folds=study.fold_of(runs[0]) is not None)

    def needs(self, study: "Study") -> Needs:
        return {"summaries": [study.scores(run).output("summary") for run in study.seeded[self.experiment]]}


@dataclass(frozen=True)
class Comparisons(Artifact):
    """All networks, ensembles and baselines against each other, picture by picture."""

    stage: ClassVar = "comparisons"
    parts: ClassVar = {"per_image": "per_image.csv of each"}
    signed: ClassVar = False
    verified: ClassVar = False

    def outputs(self) -> dict[str, Path]:
        return {"table": paths.comparisons()}

    @property
    def what(self) -> str:
        return "table of all entrants against each other"

    def recipe(self, study: "Study") -> NoRecipe:
        return NoRecipe()

    def needs(self, study: "Study") -> Needs:
        return {"per_image": [study.scores(name).output("per_image") for name in study.scored()]}


@dataclass(frozen=True)
class Leaderboard(Artifact):
    """All scores in one table."""

    stage: ClassVar = "leaderboard"
    parts: ClassVar = {"summaries": "summary.csv files", "checks": "reports of checks, for the column `leak`"}
    signed: ClassVar = False
    verified: ClassVar = False

    def outputs(self) -> dict[str, Path]:
        return {"table": paths.leaderboard()}

    @property
    def what(self) -> str:
        return "table of the scores of all experiments"

    def recipe(self, study: "Study") -> NoRecipe:
        return NoRecipe()

    def needs(self, study: "Study") -> Needs:
        tables = [*map(study.scores, study.scored()), *study.averages()]
        checked = dict.fromkeys(study.dataset_of(name) for name in study.scored())
        return {
            "summaries": [table.output("summary") for table in tables],
            "checks": [Check(name).output() for name in checked],
        }


@dataclass(frozen=True)
class Report(Artifact):
    """The page about all data sets, experiments and scores."""

    stage: ClassVar = "report"
    parts: ClassVar = {
        "leaderboard": "table of all scores",
        "comparisons": "table of paired comparisons",
        "intervals": "intervals.csv files",
        "checks": "reports of checks, and contact sheets",
        "trainings": "histories, times and provenance of trainings",
        "scores": "tables of scores",
        "pictures": "folders of masks and panels of test pictures",
    }
    signed: ClassVar = False
    verified: ClassVar = False

    def outputs(self) -> dict[str, Path]:
        return {"page": paths.report()}

    @property
    def what(self) -> str:
        return "page about all data sets, experiments and scores"

    def recipe(self, study: "Study") -> ReportRecipe:
        datasets = {name: study.source(name, TEST, presentation=True) for name in study.config.datasets}
        return ReportRecipe(datasets=datasets, experiments={name: study.dataset_of(name) for name in study.experiments})

    def needs(self, study: "Study") -> Needs:
        scored = [*map(study.scores, study.scored())]
        tables = [*(Output(one, path) for one in scored for path in one.outputs().values() if path.suffix == ".csv")]
        return {
            "leaderboard": [Leaderboard().output()],
            "comparisons": [Comparisons().output()],
            "intervals": [one.output("intervals") for one in scored],
            "checks": [Check(name).output(part) for name in study.config.datasets for part in ("json", "sheet")],
            "trainings": [
                Checkpoint(name).output(part)
                for name in study.experiments
                for part in ("history", "timing", "provenance")
            ],
            "scores": [*tables, *(average.output() for average in study.averages())],
            "pictures": study.shown_pictures(),
        }


KINDS: tuple[type[Artifact], ...] = (
    *(SplitTable, FoldTable, Check, Shard, Checkpoint, Augmented, Curves, Events, Predictions, Ensemble, Baseline),
    *(Threshold, Pictures, ClassPictures, Submission, Scores, ClassScores, Average, Comparisons, Leaderboard, Report),
)
"""Every kind of result."""
