"""What a command is to make, by what, from what, and where: told by the configuration, or by what a rule passes."""

import dataclasses
import importlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, get_args

from pipeline.cli.commands import Arguments
from pipeline.core import manifest, paths
from pipeline.core.digests import changed_since, files_read
from pipeline.core.errors import ConfigError, OriginError, Problem, RawDataError
from pipeline.core.fingerprint import Fingerprint
from pipeline.core.manifest import Manifest
from pipeline.graph.artifacts import STAGES
from pipeline.graph.base import Artifact, plan_of, plan_without_inputs
from pipeline.graph.plan import Plan
from pipeline.graph.store import Store

if TYPE_CHECKING:
    from pipeline.graph.study import Study


@dataclass
class Job:
    """What a command is to do.

    Parameters
    ----------
    artifact : Artifact
    plan : Plan
    inputs : dict of str to list of Path
        By part.
    expected : dict of Path to str
        The identity that an input has to have (see `pipeline.core.fingerprint.Fingerprint`). Whoever names an input
        means that file, whatever made it: then there is none.
    output : Path
    store : Store
        For what is worth keeping.
    arguments : Namespace
        All that the command was told.
    """

    artifact: Artifact
    plan: Plan
    inputs: dict[str, list[Path]]
    expected: dict[Path, str]
    output: Path
    store: Store
    arguments: Arguments

    def one(self, part: str) -> Path:
        """Return the input of a part that must be one file or folder.

        Raises
        ------
        ConfigError
        """
        return only_one(part, self.inputs.get(part, []))

    def optional(self, part: str) -> Path | None:
        """Return the input of a part that may be one file or folder, or nothing."""
        return self.one(part) if self.inputs.get(part) else None

    @property
    def outputs(self) -> list[Path]:
        """The files and folders that are to be made."""
        if len(self.artifact.files) == 1:
            return [self.output]
        return [self.output / path.name for path in self.artifact.outputs().values()]

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """The fingerprint of the result, by the inputs that there are."""

        def identity(path: Path) -> str:
            found = self.expected.get(path) or manifest.find(path)
            return found if isinstance(found, str) else found.identity if found else "not known"

        made_from = {part: [identity(path) for path in given] for part, given in self.inputs.items() if given}
        return dataclasses.replace(self.plan, made_from=made_from).fingerprint()

    def require_origin(self) -> None:
        """Refuse inputs that something else made than they have to be made by, or that were edited since.

        Raises
        ------
        OriginError
            Listing all of them.
        """
        inputs = dict.fromkeys(path for given in self.inputs.values() for path in given)
        asked = ((path, self.expected[path]) for path in inputs if path in self.expected and path.exists())
        config = self.arguments.config or []
        found = (manifest.problem(path, identity, config) for path, identity in asked)
        if problems := [problem for problem in found if problem is not None]:
            raise OriginError(problems)

    @property
    def function(self) -> Callable[..., Any]:
        """The function of the stage."""
        stage = self.artifact.stage
        function: Callable[..., Any] = getattr(
            importlib.import_module(stage.module), stage.function.removeprefix(f"{stage.module}.")
        )
        return function

    def asked(self, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever the stage takes
        """Return what the function of the stage asks for; `more` stands in for what is found otherwise."""
        told = {**vars(self.arguments), **vars(self.artifact), "recipe": self.plan.recipe, "output": self.output}
        asked = {}
        for name, parameter in inspect.signature(self.function).parameters.items():
            if name in more:
                asked[name] = more[name]
            elif name in self.artifact.parts:
                asked[name] = self._part(name, parameter.annotation)
            elif name == "raw_digest":
                asked[name] = self.plan.raw.get("raw files")
            elif name in told:
                asked[name] = told[name]
        return asked

    def make(self, **more: Any) -> Any:  # noqa: ANN401 - whatever the stage takes and returns
        """Call the function of the stage with what it asks for, and write the manifest of what it made.

        What is worth keeping is taken from the store where it was made before, and kept there else.

        Raises
        ------
        OriginError
            See `require_origin`.
        """
        self.require_origin()
        if self.taken():
            return None
        files_read.clear()
        made = self.function(**self.asked(**more))
        self.finish()
        return made

    def taken(self) -> bool:
        """Take the result from the store, if it is there, and tell whether it was."""
        return self.artifact.kept and self.store.take(self.fingerprint.identity, self.outputs)

    def finish(self) -> None:
        """Write the manifest of what was made, and keep it if it is worth it.

        Raises
        ------
        RawDataError
            If raw files were read that changed after the job was planned: then there is no manifest.
        """
        dataset = getattr(self.plan.recipe, "dataset", None)
        if changed := changed_since(paths.digests(dataset)) if dataset and self.plan.raw else []:
            expected, remedy = "the file that was there when this was planned", "run snakemake again"
            raise RawDataError(Problem(path, "a file that changed meanwhile", expected, remedy) for path in changed)
        made = Manifest.of(self.fingerprint, self.outputs)
        made.write(self.outputs[0])
        if self.artifact.kept:
            self.store.keep(made, self.outputs)

    def _part(self, part: str, annotation: Any) -> Path | list[Path] | None:  # noqa: ANN401
        kinds = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
        if Path not in kinds:
            return self.inputs.get(part, [])
        return self.optional(part) if NoneType in kinds else self.one(part)


def only_one(part: str, given: Sequence[Path]) -> Path:
    """Return the only path of a part.

    Raises
    ------
    ConfigError
        If there is none, or several.
    """
    if len(given) != 1:
        raise ConfigError(_flag(part), f"{len(given)} paths", "one", f"name one, or leave {_flag(part)} out")
    return given[0]


def open_study(arguments: Arguments) -> "Study":
    """Read the configuration."""
    from pipeline.config.config import load
    from pipeline.graph.study import Study

    thorough = getattr(arguments, "thorough", False)
    return Study(load(arguments.config or [Path("config.yaml")]), thorough=thorough)


def job_of(arguments: Arguments, kind: type[Artifact]) -> Job:
    """Find out what to do.

    Parameters
    ----------
    arguments : Namespace
    kind : type of Artifact
        What the command makes; or a kind below it.

    Raises
    ------
    ConfigError
        If the plan is of another stage, the configuration does not name the data set or experiment, or an input is
        named that the result is not made from.
    """
    kinds = (kind, *kind.__subclasses__())
    given = {part: getattr(arguments, part, None) for one in kinds for part in one.parts}
    named = {part: value for part, value in given.items() if value is not None}
    fields = {field: getattr(arguments, field) for field in kind.fields()}
    found: dict[str, list[Path]] = {}
    limit = getattr(arguments, "store_gb", None)
    if arguments.plan is not None:
        plan = Plan.from_json(arguments.plan, STAGES)
        artifact = _planned(plan, kinds, fields)
    else:
        study = open_study(arguments)
        _require_known(arguments, study, kinds)
        artifact = kind.chosen(study, **fields)
        found = {part: [one.path for one in outputs] for part, outputs in artifact.needs(study).items()}
        plan = (plan_without_inputs if named else plan_of)(artifact, study)
        # what is made from files that somebody names is told by no identity
        limit = 0 if named else study.config.store_gb if limit is None else limit
    for part in named.keys() - artifact.parts.keys():
        wanted = f"inputs of what is made here: {artifact.what}"
        raise ConfigError(_flag(part), "an input that it is not made from", wanted, f"leave out {_flag(part)}")
    inputs = {part: _paths(named[part]) if part in named else found.get(part, []) for part in artifact.parts}
    expected: dict[Path, str] = {}
    for part, identities in plan.made_from.items():
        expected.update(zip(inputs[part], identities, strict=False))
    for part in artifact.if_there - named.keys():
        inputs[part] = [path for path in inputs[part] if path.exists()]
    return Job(artifact, plan, inputs, expected, arguments.output or artifact.place, Store(limit or 0), arguments)


def _flag(part: str) -> str:
    return f"--{part.replace('_', '-')}"


def _paths(given: Any) -> list[Path]:  # noqa: ANN401 - paths, one of them, or a number in place of one
    if isinstance(given, Path):
        return [given]
    return [*given] if isinstance(given, list) else []


def _planned(plan: Plan, kinds: Sequence[type[Artifact]], fields: dict[str, Any]) -> Artifact:
    """Return the result that a plan is for."""
    kind = next((kind for kind in kinds if kind.stage == plan.stage), None)
    if kind is None:
        expected = f"a plan of stage {' or '.join(kind.stage.name for kind in kinds)}"
        raise ConfigError("--plan", f"a plan of stage {plan.stage.name!r}", expected, "use --config FILE instead")
    if plan.result.keys() != fields.keys():
        expected = f"the fields of {kind.example('<{}>').what}: {', '.join(fields)}"
        raise ConfigError("--plan", f"a result {dict(plan.result)}", expected, "use --config FILE instead")
    for field, value in fields.items():
        planned = plan.result.get(field)
        if value not in (None, planned):
            found, expected = f"{field} {planned!r} in the plan", f"{field} {value!r}, as --{field} says"
            raise ConfigError("--plan", found, expected, f"leave out --plan, or correct --{field}")
    return kind(**plan.result)


def _require_known(arguments: Arguments, study: "Study", kinds: Sequence[type[Artifact]]) -> None:
    """Refuse a data set or experiment that the configuration does not name."""
    for section in ("dataset", "experiment"):
        name = getattr(arguments, section, None)
        known = sorted({name for kind in kinds if section in kind.fields() for name in kind.names(study)})
        if name is None or name in known:
            continue
        runs = study.seeded.get(name, []) if section == "experiment" else []
        several = ", of several classes" if name in study.several_classes else ""
        several = f", an experiment of several runs: {', '.join(runs)}" if runs else several
        remedy = "name one of its runs" if runs else "correct the name"
        raise ConfigError(f"--{section}", f"{name!r}{several}", f"one of {', '.join(known) or 'none'}", remedy)
