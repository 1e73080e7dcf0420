"""What a result is: where it lies, what makes it, by which settings, and from what.

Inputs, outputs and parameters of rules, default paths of commands, fingerprints, `explain` and `clean` follow from it.
"""

import dataclasses
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from pipeline.core.options import Options
from pipeline.graph.stages import Plan
from pipeline.raw.samples import Sample
from pipeline.raw.splits.names import SPLITS

if TYPE_CHECKING:
    from pipeline.graph.study import Study


class Output(NamedTuple):
    """One of the files or folders of a result."""

    artifact: "Artifact"
    path: Path


Needs = Mapping[str, list[Output]]
"""What a result is made from besides raw files, by part."""


@dataclass(frozen=True)
class Artifact(ABC):
    """A result: what one job makes. Its fields are the wildcards of the rule that makes it."""

    stage: ClassVar[str]
    """What makes it: a key of `pipeline.graph.stages.STAGES`."""

    parts: ClassVar[Mapping[str, str]] = {}
    """Each part that it may be made from, in words; the options of the command that makes it are called so."""

    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"split": SPLITS}
    """The values that some of its fields can have."""

    signed: ClassVar[bool] = True
    """Whether it keeps its fingerprint; else it is as current as what it is made from."""

    verified: ClassVar[bool] = True
    """Whether its job refuses inputs that something else made than it should have."""

    @abstractmethod
    def outputs(self) -> dict[str, Path]:
        """Name its files and folders, those first that it is known by."""

    @property
    @abstractmethod
    def what(self) -> str:
        """What it is, in words."""

    @classmethod
    def fields(cls) -> tuple[str, ...]:
        """Name its fields."""
        return tuple(field.name for field in dataclasses.fields(cls))

    @classmethod
    def names(cls, study: "Study") -> Iterable[str]:
        """Return the values that its field ``experiment`` or ``dataset`` can have."""
        return study.experiments

    @abstractmethod
    def recipe(self, study: "Study") -> Options:
        """Return the settings that it is made by."""

    def needs(self, study: "Study") -> Needs:
        """Return the results that it is made from."""
        return {}

    def raw_files(self, study: "Study") -> list[str]:
        """Return the raw files that it is made from."""
        return []

    def state(self, study: "Study") -> str:
        """Return a short text that changes with what no file and no setting tells, such as rows of a table."""
        return ""

    def is_known(self, study: "Study") -> bool:
        """Tell whether the configuration names its experiment or data set."""
        return not self.name or self.name in self.names(study)

    @property
    def path(self) -> Path:
        """The file or folder that it is known by."""
        return next(iter(self.outputs().values()))

    @property
    def place(self) -> Path:
        """What the command that makes it is told to write: a file or folder, or the folder of several."""
        return self.path if len(self.outputs()) == 1 else self.path.parent

    @property
    def signature(self) -> Path:
        """The file or folder that keeps its fingerprint."""
        return self.path

    @property
    def name(self) -> str:
        """The experiment or data set that it belongs to."""
        return str(getattr(self, "experiment", getattr(self, "dataset", "")))

    def output(self, name: str | None = None) -> Output:
        """Return one of its files or folders."""
        return Output(self, self.path if name is None else self.outputs()[name])

    def plan(self, study: "Study") -> Plan:
        """Return what it is to be made by, all the way down."""
        needs = self.needs(study) if self.verified else {}
        made_from = {part: study.plan(outputs[0].artifact) for part, outputs in needs.items() if outputs}
        deciding = {part: Plan(plan.stage, plan.recipe.deciding(), plan.made_from) for part, plan in made_from.items()}
        return Plan(self.stage, self.recipe(study), deciding)


@dataclass(frozen=True)
class OfDataset(Artifact):
    """A result that belongs to a data set."""

    dataset: str

    @classmethod
    def fields(cls) -> tuple[str, ...]:
        """Name its fields."""
        return tuple(field.name for field in dataclasses.fields(cls))

    @classmethod
    def names(cls, study: "Study") -> Iterable[str]:
        return study.config.datasets


@dataclass(frozen=True)
class OfExperiment(Artifact):
    """A result that belongs to an experiment, or to what is scored like one."""

    experiment: str


def files_of(samples: Iterable[Sample], *roles: str) -> list[str]:
    """Return the files that samples have in some roles, each once."""
    return list(dict.fromkeys(path for sample in samples for role in roles for path in getattr(sample, role)))


def digest_of(lines: Iterable[str]) -> str:
    """Return a short text that changes with some lines."""
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:16]
