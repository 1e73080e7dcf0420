"""Base classes of the results in the graph, and their plans and identities."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from pipeline.core.fingerprint import short_digest
from pipeline.core.options import Options
from pipeline.graph.plan import Plan, Stage
from pipeline.raw.samples import Sample
from pipeline.raw.splits.names import SPLITS

if TYPE_CHECKING:
    from pipeline.graph.study import Study


class Output(NamedTuple):
    """One of the files or folders of a result."""

    artifact: "Artifact"
    path: Path


Inputs = Mapping[str, Sequence[Output]]
"""The results that a result is made from, by name of the input."""


class RawInput(NamedTuple):
    """Raw files that a result is made from.

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
        """The files without duplicates; samples may share a table of run-length codes."""
        sample_files = (path for sample in self.samples for role in self.roles for path in getattr(sample, role))
        return list(dict.fromkeys(sample_files))


@dataclass(frozen=True)
class Artifact(ABC):
    """A result of one job. Its fields are the wildcards of the rule that makes it.

    Inputs, outputs and parameters of rules, default paths of commands, fingerprints, `explain` and `clean` are derived
    from it. The first line of the docstring of a subclass describes its results, with fields in braces.
    """

    stage: ClassVar[Stage]

    files: ClassVar[Mapping[str, Path]]
    """Its files and folders by name, with fields in braces; the first one identifies it."""

    input_descriptions: ClassVar[Mapping[str, str]] = {}
    """Description of each input by its name, which is also that of an option of the command that makes the result."""

    optional_inputs: ClassVar[frozenset[str]] = frozenset()
    """Inputs that may be missing; by default, those of their default paths that exist are used."""

    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"split": SPLITS}
    """Allowed values of fields."""

    names_attribute: ClassVar[str] = "experiments"
    """Attribute of `Study` with the allowed values of the field ``experiment`` or ``dataset``."""

    stored: ClassVar[bool] = False
    """Whether the store keeps it, in case a change of settings is undone; see `pipeline.graph.store`."""

    @abstractmethod
    def recipe(self, study: "Study") -> Options:
        """Return the settings of its stage."""

    def inputs(self, study: "Study") -> Inputs:
        """Return the results that it is made from."""
        return {}

    def raw(self, study: "Study") -> "RawInput":
        """Return the raw files that it is made from."""
        return RawInput()

    def raw_folders(self, study: "Study") -> list[str]:
        """Return the folder of its raw files as a list; empty if it needs no raw files or the folder does not exist."""
        return study.raw_folders(self.dataset_name(study)) if self.raw(study).samples else []

    def state(self, study: "Study") -> str:
        """Return a string that changes with properties of the raw data other than file contents, such as the splits."""
        return ""

    def raw_digests(self, study: "Study") -> dict[str, str]:
        """Return digests of the raw data that it is made from; empty if it needs none.

        ``raw files`` covers the contents of its raw files and the rows of its samples in shared tables, each with the
        identifier of the sample; ``raw data`` covers `state`.
        """
        files, state = self.raw(study), self.state(study)
        digests = {}
        if files.samples:
            digests["raw files"] = study.raw_files_digest(self.dataset_name(study), files.samples, files.roles)
        return {**digests, "raw data": short_digest(state)} if state else digests

    def is_configured(self, study: "Study") -> bool:
        """Return whether its experiment or data set is in the configuration."""
        return not self.name or self.name in self.names(study)

    @classmethod
    def for_command(cls, study: "Study", **fields: Any) -> "Artifact":
        """Return the result that a command makes; fields without a value on the command line are None."""
        return cls(**fields)

    @classmethod
    def fields(cls) -> tuple[str, ...]:
        """Return the names of its fields."""
        return tuple(field.name for field in dataclasses.fields(cls))

    @classmethod
    def names(cls, study: "Study") -> Iterable[str]:
        """Return the allowed values of its field ``experiment`` or ``dataset``."""
        names: Iterable[str] = getattr(study, cls.names_attribute)
        return names

    @classmethod
    def from_strings(cls, strings: Mapping[str, str], **fields: Any) -> Self:
        """Parse the fields from strings, such as wildcards; `fields` take precedence."""
        parsed_fields = {
            field.name: int(strings[field.name]) if field.type is int else strings[field.name]
            for field in dataclasses.fields(cls)
            if field.name not in fields
        }
        return cls(**parsed_fields, **fields)

    @classmethod
    def example(cls, template: str) -> Self:
        """Return an example whose fields are the template, such as ``<{}>``, formatted with their names."""
        return cls(**{field: template.format(field) for field in cls.fields()})

    @property
    def description(self) -> str:
        """One line for messages."""
        line = (self.__doc__ or "").split("\n")[0].rstrip(".")
        return (line[:1].lower() + line[1:]).format(**vars(self))

    def outputs(self) -> Mapping[str, Path]:
        """Return its files and folders by name."""
        return _outputs(self)

    def output(self, name: str | None = None) -> Output:
        """Return one of its files or folders; the first one by default."""
        return Output(self, self.path if name is None else self.outputs()[name])

    @property
    def path(self) -> Path:
        """The file or folder that identifies it."""
        return next(iter(self.outputs().values()))

    @property
    def destination(self) -> Path:
        """The default of ``--output``: its file or folder, or the folder that contains several."""
        return self.path if len(self.files) == 1 else self.path.parent

    def dataset_name(self, study: "Study") -> str:
        """Return the data set that it belongs to."""
        return study.dataset_of(self.name)

    @property
    def name(self) -> str:
        """The experiment or data set that it belongs to."""
        return str(getattr(self, "experiment", getattr(self, "dataset", "")))


@cache
def _outputs(artifact: Artifact) -> Mapping[str, Path]:
    """Return the outputs of an artifact; cached, because each experiment names all shards of its data set."""
    outputs = {name: Path(str(path).format(**vars(artifact))) for name, path in artifact.files.items()}
    return MappingProxyType(outputs)


@cache
def plan_of(artifact: Artifact, study: "Study") -> Plan:
    """Return the plan of a result: its recipe, digests of raw files and identities of its inputs."""
    inputs = artifact.inputs(study)
    made_from = {name: [identity_of(output.artifact, study) for output in outputs] for name, outputs in inputs.items()}
    return replace(
        plan_without_inputs(artifact, study),
        made_from={name: identities for name, identities in made_from.items() if identities},
    )


def with_inputs(
    artifacts: Iterable[Artifact], study: "Study", visited: set[Artifact] | None = None
) -> Iterator[Artifact]:
    """Yield results and all results that they are made from, each once.

    Results in `visited` are skipped; those that are yielded are added to it.
    """
    visited, pending = set() if visited is None else visited, [*artifacts]
    while pending:
        artifact = pending.pop()
        if artifact not in visited:
            visited.add(artifact)
            yield artifact
            pending += [output.artifact for outputs in artifact.inputs(study).values() for output in outputs]


def plan_without_inputs(artifact: Artifact, study: "Study") -> Plan:
    """Return the plan of a result without the identities of its inputs."""
    return Plan(artifact.stage, vars(artifact), artifact.recipe(study), artifact.raw_digests(study))


@cache
def identity_of(artifact: Artifact, study: "Study") -> str:
    """Return the identity of the result that the current settings, code and raw files make."""
    return plan_of(artifact, study).fingerprint().identity


def stored_identities(artifact: Artifact, study: "Study") -> set[str]:
    """Return the identities under which the store can keep the result: see `Options.resolutions`."""
    plan = plan_of(artifact, study)
    return {replace(plan, recipe=recipe).fingerprint().identity for recipe in plan.recipe.resolutions()}


@dataclass(frozen=True)
class DatasetArtifact(Artifact):
    """A result that belongs to a data set."""

    names_attribute: ClassVar = "datasets"

    dataset: str

    def dataset_name(self, study: "Study") -> str:
        return self.dataset


@dataclass(frozen=True)
class ExperimentArtifact(Artifact):
    """A result that belongs to an experiment, or to an ensemble or baseline."""

    experiment: str


@dataclass(frozen=True)
class PredictionsArtifact(ExperimentArtifact):
    """Predictions of a split: probabilities, or class indices."""

    choices: ClassVar = {"split": SPLITS, "kind": ("probability", "mask")}

    split: str
    kind: str

    @property
    def scored_as(self) -> str:
        """The name of the method in tables of scores."""
        return self.experiment

    def is_configured(self, study: "Study") -> bool:
        return super().is_configured(study) and (self.kind == "probability" or study.multiclass(self.scored_as))

    @classmethod
    def for_command(cls, study: "Study", **fields: Any) -> Artifact:
        """Return the predictions that a command makes; without a kind, those that scores and images are made from."""
        kind = fields["kind"] or ("mask" if study.multiclass(fields["experiment"]) else "probability")
        return cls(**{**fields, "kind": kind})


def paths_in(folder: Path, *names: str) -> dict[str, Path]:
    """Return the paths of files and folders in a folder, by their names up to the first dot."""
    return {name.partition(".")[0]: folder / name for name in names}
