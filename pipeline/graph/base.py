"""What is common to all kinds of results."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from pipeline.core.fingerprint import short_digest
from pipeline.core.options import Options
from pipeline.graph.plan import Plan, Stage
from pipeline.raw.digests import joint_digest
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


class RawInput(NamedTuple):
    """Raw data that a result is made from.

    Parameters
    ----------
    samples : sequence of Sample
    roles : tuple of str
        Which of their files: ``files``, ``truth_files``, ``observer_files``.
    """

    samples: Sequence[Sample] = ()
    roles: tuple[str, ...] = ()

    @property
    def files(self) -> list[str]:
        """The files, each once; a table of run-length codes that many samples share is one of them."""
        found = (path for sample in self.samples for role in self.roles for path in getattr(sample, role))
        return list(dict.fromkeys(found))


@dataclass(frozen=True)
class Artifact(ABC):
    """A result: what one job makes. Its fields are the wildcards of the rule that makes it.

    Inputs, outputs and parameters of rules, default paths of commands, fingerprints, `explain` and `clean` follow from
    it. The first line of the docstring of a kind says what its results are, with fields in braces.
    """

    stage: ClassVar[Stage]

    files: ClassVar[Mapping[str, Path]]
    """Its files and folders by name, with fields in braces; it is known by the first one."""

    parts: ClassVar[Mapping[str, str]] = {}
    """Each part that it may be made from, in words; the options of the command that makes it are called so."""

    if_there: ClassVar[frozenset[str]] = frozenset()
    """Parts of which a command that is not told them takes what is there, and leaves out the rest."""

    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"split": SPLITS}
    """The values that some of its fields can have."""

    of: ClassVar[str] = "experiments"
    """The attribute of `Study` with the names that its experiment or data set can have."""

    kept: ClassVar[bool] = False
    """Whether it is worth keeping for the day when a change is taken back; see `pipeline.graph.store`."""

    @abstractmethod
    def recipe(self, study: "Study") -> Options:
        """Return the settings that it is made by."""

    def needs(self, study: "Study") -> Needs:
        """Return the results that it is made from."""
        return {}

    def raw(self, study: "Study") -> "RawInput":
        """Return what of the raw data it is made from."""
        return RawInput()

    def raw_folders(self, study: "Study") -> list[str]:
        """Return the folder of the raw files that it is made from; nothing where it needs none, or it is not there."""
        root = study.datasets[self.dataset_name(study)].root if self.raw(study).samples else ""
        return [root] if root and Path(root).exists() else []

    def state(self, study: "Study") -> str:
        """Return a text that changes with what of the raw data `raw` does not tell, such as where samples stand."""
        return ""

    def raw_digests(self, study: "Study") -> dict[str, str]:
        """Return digests that change with the raw data that it is made from; nothing where it needs none.

        ``raw files`` is that of the contents of its raw files and of what samples have from shared tables, under their
        names; ``raw data`` that of `state`.
        """
        files, state = self.raw(study), self.state(study)
        digests = {}
        if files.samples:
            dataset = self.dataset_name(study)
            each = (study.sample_digest(dataset, sample, files.roles) for sample in files.samples)
            digests["raw files"] = joint_digest(files.samples, each)
        return {**digests, "raw data": short_digest(state)} if state else digests

    def is_known(self, study: "Study") -> bool:
        """Tell whether the configuration names its experiment or data set."""
        return not self.name or self.name in self.names(study)

    @classmethod
    def chosen(cls, study: "Study", **fields: Any) -> "Artifact":
        """Return the result that a command is to make; a field that it is not told is None."""
        return cls(**fields)

    @classmethod
    def fields(cls) -> tuple[str, ...]:
        """Name its fields."""
        return tuple(field.name for field in dataclasses.fields(cls))

    @classmethod
    def names(cls, study: "Study") -> Iterable[str]:
        """Return the values that its field ``experiment`` or ``dataset`` can have."""
        names: Iterable[str] = getattr(study, cls.of)
        return names

    @classmethod
    def of_texts(cls, texts: Mapping[str, str], **fields: Any) -> Self:
        """Return the result whose fields are spelled by texts, or given as they are."""
        spelled = {
            field.name: int(texts[field.name]) if field.type is int else texts[field.name]
            for field in dataclasses.fields(cls)
            if field.name not in fields
        }
        return cls(**spelled, **fields)

    @classmethod
    def example(cls, word: str) -> Self:
        """Return one with a word for each field, such as ``<{}>``, of its name."""
        return cls(**{field: word.format(field) for field in cls.fields()})

    @property
    def what(self) -> str:
        """What it is, in words."""
        line = (self.__doc__ or "").split("\n")[0].rstrip(".")
        return (line[:1].lower() + line[1:]).format(**self._values)

    @property
    def _values(self) -> dict[str, Any]:
        return {field: getattr(self, field) for field in self.fields()}

    def outputs(self) -> dict[str, Path]:
        """Return its files and folders by name."""
        return {name: Path(str(path).format(**self._values)) for name, path in self.files.items()}

    def output(self, name: str | None = None) -> Output:
        """Return one of its files or folders."""
        return Output(self, self.path if name is None else self.outputs()[name])

    @property
    def path(self) -> Path:
        """The file or folder that it is known by."""
        return next(iter(self.outputs().values()))

    @property
    def place(self) -> Path:
        """What the command that makes it is told to write: a file or folder, or the folder of several."""
        return self.path if len(self.files) == 1 else self.path.parent

    def dataset_name(self, study: "Study") -> str:
        """Return the data set that it belongs to."""
        return study.dataset_of(self.name)

    @property
    def name(self) -> str:
        """The experiment or data set that it belongs to."""
        return str(getattr(self, "experiment", getattr(self, "dataset", "")))


@cache
def plan_of(artifact: Artifact, study: "Study") -> Plan:
    """Return what a result is to be made by."""
    needs = artifact.needs(study)
    made_from = {part: [identity_of(one.artifact, study) for one in outputs] for part, outputs in needs.items()}
    return replace(
        plan_without_inputs(artifact, study),
        made_from={part: identities for part, identities in made_from.items() if identities},
    )


def with_inputs(artifacts: Iterable[Artifact], study: "Study", seen: set[Artifact] | None = None) -> Iterator[Artifact]:
    """Yield results and all that they are made from, each once; those `seen` are left out, and the others added."""
    seen, waiting = set() if seen is None else seen, [*artifacts]
    while waiting:
        artifact = waiting.pop()
        if artifact not in seen:
            seen.add(artifact)
            yield artifact
            waiting += [one.artifact for part in artifact.needs(study).values() for one in part]


def plan_without_inputs(artifact: Artifact, study: "Study") -> Plan:
    """Return what a result is to be made by where others say what it is made from."""
    return Plan(artifact.stage, vars(artifact), artifact.recipe(study), artifact.raw_digests(study))


@cache
def identity_of(artifact: Artifact, study: "Study") -> str:
    """Return the identity of a result that today's settings, code and raw files make."""
    return plan_of(artifact, study).fingerprint().identity


@dataclass(frozen=True)
class OfDataset(Artifact):
    """A result that belongs to a data set."""

    of: ClassVar = "datasets"

    dataset: str

    def dataset_name(self, study: "Study") -> str:
        return self.dataset


@dataclass(frozen=True)
class OfExperiment(Artifact):
    """A result that belongs to an experiment, or to what is scored like one."""

    experiment: str


@dataclass(frozen=True)
class OfPredictions(OfExperiment):
    """Predictions of a split: probabilities, or class indices."""

    choices: ClassVar = {"split": SPLITS, "kind": ("probability", "mask")}

    split: str
    kind: str

    @property
    def scored_as(self) -> str:
        """The name under which they are scored."""
        return self.experiment

    def is_known(self, study: "Study") -> bool:
        return super().is_known(study) and (self.kind == "probability" or study.multiclass(self.scored_as))

    @classmethod
    def chosen(cls, study: "Study", **fields: Any) -> Artifact:
        """Return those that scores and images are made from, where a command is not told the kind."""
        kind = fields["kind"] or ("mask" if study.multiclass(fields["experiment"]) else "probability")
        return cls(**{**fields, "kind": kind})


def under(folder: Path, *names: str) -> dict[str, Path]:
    """Return files and folders in a folder, by their names up to the first dot."""
    return {name.partition(".")[0]: folder / name for name in names}
