"""Results of raw data: tables of splits and folds, checks, shards, and baselines."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pipeline.core import paths
from pipeline.core.fingerprint import canonical
from pipeline.evaluation import entrants
from pipeline.evaluation.recipes import BaselineRecipe
from pipeline.graph.artifacts.base import OfDataset, digest_of, files_of
from pipeline.raw.recipes import CheckRecipe, FoldsRecipe, SplitsRecipe
from pipeline.raw.samples import Sample
from pipeline.raw.splits.names import SPLITS, TEST
from pipeline.shards.recipes import ShardRecipe

if TYPE_CHECKING:
    from pipeline.graph.study import Study


@dataclass(frozen=True)
class SplitTable(OfDataset):
    """Which sample of a data set stands in which split and shard."""

    stage: ClassVar = "splits"
    signed: ClassVar = False

    def outputs(self) -> dict[str, Path]:
        return {"table": paths.splits(self.dataset)}

    @property
    def what(self) -> str:
        return f"table of which sample of data set {self.dataset} stands where"

    def recipe(self, study: "Study") -> SplitsRecipe:
        return SplitsRecipe(dataset=self.dataset, source=study.source(self.dataset, *SPLITS, shards=True))

    def state(self, study: "Study") -> str:
        return canonical({split: study.raw(self.dataset).digest(split) for split in SPLITS})


@dataclass(frozen=True)
class FoldTable(OfDataset):
    """Which training or validation sample belongs to which fold."""

    stage: ClassVar = "folds"

    folds: int

    def outputs(self) -> dict[str, Path]:
        return {"table": paths.folds(self.dataset, self.folds)}

    @property
    def what(self) -> str:
        return f"table of which sample of data set {self.dataset} belongs to which of {self.folds} folds"

    def recipe(self, study: "Study") -> FoldsRecipe:
        drawn = study.config.datasets[self.dataset].drawn
        source = study.source(self.dataset, TEST)
        if drawn.stratify:
            source = source.changed(cache=str(paths.shares(self.dataset)))
        return FoldsRecipe(dataset=self.dataset, folds=self.folds, drawn=drawn, source=source)

    def state(self, study: "Study") -> str:
        return digest_of(f"{fold} {name}" for name, fold in sorted(study.members(self.dataset, self.folds).items()))


@dataclass(frozen=True)
class Check(OfDataset):
    """The report on the raw files of a data set, its page and its contact sheet."""

    stage: ClassVar = "check"
    signed: ClassVar = False

    def outputs(self) -> dict[str, Path]:
        report = paths.check(self.dataset)
        return {"json": report, "page": report.with_suffix(".html"), "sheet": report.with_suffix(".png")}

    @property
    def what(self) -> str:
        return f"report on the raw files of {self.dataset}"

    def recipe(self, study: "Study") -> CheckRecipe:
        data = study.config.datasets[self.dataset]
        source = study.source(self.dataset, *SPLITS, presentation=True)
        return data.to(CheckRecipe, dataset=self.dataset, normalize=data.normalize.method, source=source)

    def raw_files(self, study: "Study") -> list[str]:
        """Return what can be listed, so that files that do not pair are reported and stop nothing else."""
        opened = study.opened(self.dataset)
        samples = [*(sample for split in SPLITS for sample in opened.dataset.splits[split]), *opened.unplaced]
        files = files_of(samples, "files", "truth_files", "observer_files")
        return [path for path in files if Path(path).exists()]

    def state(self, study: "Study") -> str:
        """Return which samples stand where, what does not pair, and what nothing uses."""
        from pipeline.raw.check.ignored import unused_digest

        opened = study.opened(self.dataset)
        members = {split: opened.dataset.digest(split) for split in SPLITS}
        problems = sorted(map(str, opened.problems))
        return canonical({"members": members, "problems": problems, "unused": unused_digest(opened)})


@dataclass(frozen=True)
class Shard(OfDataset):
    """Some samples of a split, prepared."""

    stage: ClassVar = "shard"

    split: str
    number: int

    def outputs(self) -> dict[str, Path]:
        return {"shard": paths.shard(self.dataset, self.split, self.number)}

    @property
    def what(self) -> str:
        return f"shard {self.number} of the {self.split} samples of data set {self.dataset}"

    def recipe(self, study: "Study") -> ShardRecipe:
        exclude = study.raw(self.dataset).exclusions(self.split, int(self.number))
        source = study.source(self.dataset, self.split, shards=True).changed(exclude=exclude)
        data = study.config.datasets[self.dataset]
        return data.to(ShardRecipe, dataset=self.dataset, split=self.split, source=source)

    def members(self, study: "Study") -> list[Sample]:
        """Return its samples."""
        return study.raw(self.dataset).shard_members(self.split).get(int(self.number), [])

    def raw_files(self, study: "Study") -> list[str]:
        return files_of(self.members(study), "files")

    def state(self, study: "Study") -> str:
        """Return which samples it holds, under which names, and their rows of shared tables.

        Tables themselves as inputs would build every shard again for each new row.
        """
        raw, its = study.raw(self.dataset), (self.split, int(self.number))
        return canonical([self.dataset, *its, raw.origin, raw.digest(*its), raw.shared_data_digest(*its)])


@dataclass(frozen=True)
class Baseline(OfDataset):
    """What needs no training, as if it were predicted: a second observer, nothing, or masks that were resized."""

    stage: ClassVar = "baseline"
    choices: ClassVar = {"split": SPLITS, "kind": entrants.BASELINES}

    kind: str
    split: str

    @property
    def scored_as(self) -> str:
        """The name under which it is scored."""
        return entrants.baseline_name(self.dataset, self.kind)

    def is_known(self, study: "Study") -> bool:
        return self.scored_as in study.baselines

    def outputs(self) -> dict[str, Path]:
        return {"folder": paths.prediction(self.scored_as, self.split) / "probability"}

    @property
    def what(self) -> str:
        return f"{self.kind} of the {self.split} samples of data set {self.dataset}"

    def recipe(self, study: "Study") -> BaselineRecipe:
        data = study.config.datasets[self.dataset]
        resized = {"size": data.size, "interpolation": data.interpolation} if self.kind == entrants.CEILING else {}
        source = study.source(self.dataset, self.split)
        return BaselineRecipe(dataset=self.dataset, split=self.split, kind=self.kind, source=source, **resized)

    def raw_files(self, study: "Study") -> list[str]:
        files = "observer_files" if self.kind == entrants.OBSERVER else "truth_files"
        return files_of(study.splits_of(self.scored_as)[self.split], files)
