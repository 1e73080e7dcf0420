"""The job of a command: its settings, inputs and output, from the configuration or from the plan of a rule."""

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
from pipeline.core.errors import ConfigError, OriginError, OutputError, Problem, RawDataError
from pipeline.core.files import exists, is_folder, names_in, require_short
from pipeline.core.fingerprint import Fingerprint
from pipeline.core.manifest import Manifest
from pipeline.core.options import Options
from pipeline.graph.artifacts import STAGES
from pipeline.graph.base import Artifact, plan_of, plan_without_inputs
from pipeline.graph.plan import Plan
from pipeline.graph.store import Store

if TYPE_CHECKING:
    from pipeline.graph.study import Study


@dataclass
class Job:
    """The result that a command makes, with its settings, inputs and output.

    Parameters
    ----------
    artifact : Artifact
    plan : Plan
    inputs : dict of str to list of Path
        By name of the input.
    expected : dict of Path to str
        The identity that an input must have (see `pipeline.core.fingerprint.Fingerprint`). An input that is named on
        the command line is used without a check, and has none.
    output : Path
    store : Store
        Keeps shards and checkpoints of earlier settings.
    arguments : Namespace
        The parsed command line.
    resolved : Options, optional
        See `resolve`.
    """

    artifact: Artifact
    plan: Plan
    inputs: dict[str, list[Path]]
    expected: dict[Path, str]
    output: Path
    store: Store
    arguments: Arguments
    resolved: Options | None = None

    def required_input(self, input_name: str) -> Path:
        """Return the path of an input that must be one file or folder.

        Raises
        ------
        ConfigError
        """
        return single_path(input_name, self.inputs.get(input_name, []))

    def optional_input(self, input_name: str) -> Path | None:
        """Return the path of an input that is one file or folder, or None if there is none."""
        return self.required_input(input_name) if self.inputs.get(input_name) else None

    @property
    def outputs(self) -> list[Path]:
        """The files and folders to write."""
        if len(self.artifact.files) == 1:
            return [self.output]
        return [self.output / path.name for path in self.artifact.outputs().values()]

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """The fingerprint of the result, computed from the actual inputs."""

        def identity(path: Path) -> str:
            if expected := self.expected.get(path):
                return expected
            input_manifest = manifest.find(path)
            return input_manifest.identity if input_manifest else "not known"

        made_from = {name: [identity(path) for path in files] for name, files in self.inputs.items() if files}
        return dataclasses.replace(self.plan, made_from=made_from).fingerprint()

    def resolve(self, recipe: Options) -> Fingerprint:
        """Set what the settings become on this hardware, and return the fingerprint of the result with them.

        The store keeps the result under that fingerprint: the result of ``precision: auto`` is that of ``bf16`` where
        the hardware has it, and serves both. The manifest keeps the settings as configured.
        """
        self.resolved = recipe
        return self._stored_fingerprint

    @property
    def _stored_fingerprint(self) -> Fingerprint:
        plan = dataclasses.replace(self.plan, made_from=self.fingerprint.made_from)
        return dataclasses.replace(plan, recipe=self.resolved or plan.recipe).fingerprint()

    def require_origin(self) -> None:
        """Refuse inputs that were made by other settings or code than expected, or that were edited.

        Raises
        ------
        OriginError
            Listing all of them.
        """
        inputs = dict.fromkeys(path for files in self.inputs.values() for path in files)
        config = self.arguments.config or []
        checks = (
            manifest.problem(path, self.expected[path], config)
            for path in inputs
            if path in self.expected and path.exists()
        )
        if problems := [problem for problem in checks if problem is not None]:
            raise OriginError(problems)

    @property
    def function(self) -> Callable[..., Any]:
        """The function of the stage."""
        stage = self.artifact.stage
        function: Callable[..., Any] = getattr(
            importlib.import_module(stage.module), stage.function.removeprefix(f"{stage.module}.")
        )
        return function

    def function_arguments(self, **overrides: Any) -> dict[str, Any]:  # noqa: ANN401 - arguments of any stage
        """Return the keyword arguments of the function of the stage; `overrides` take precedence."""
        values = {**vars(self.arguments), **vars(self.artifact), "recipe": self.plan.recipe, "output": self.output}
        keywords = {}
        for name, parameter in inspect.signature(self.function).parameters.items():
            if name in overrides:
                keywords[name] = overrides[name]
            elif name in self.artifact.input_descriptions:
                keywords[name] = self._input(name, parameter.annotation)
            elif name == "raw_digest":
                keywords[name] = self.plan.raw.get("raw files")
            elif name in values:
                keywords[name] = values[name]
        return keywords

    def make(self, **overrides: Any) -> Any:  # noqa: ANN401 - arguments and result of any stage
        """Call the function of the stage and write the manifest of the result; see `function_arguments`.

        A shard or checkpoint that is in the store is copied from there instead.

        Raises
        ------
        OriginError
            See `require_origin`.
        """
        self.require_origin()
        if self.restore_from_store():
            return None
        files_read.clear()
        value = self.function(**self.function_arguments(**overrides))
        self.finish()
        return value

    def restore_from_store(self) -> bool:
        """Restore the result from the store; return whether the store had it."""
        identity = self._stored_fingerprint.identity
        return self.artifact.stored and self.store.restore(identity, self.outputs, self.fingerprint)

    def finish(self) -> None:
        """Write the manifest of the result, and put a shard or checkpoint into the store.

        Raises
        ------
        RawDataError
            If raw files changed after the job was planned. The manifest is then not written.
        """
        dataset = getattr(self.plan.recipe, "dataset", None)
        if changed := changed_since(paths.digests(dataset)) if dataset and self.plan.raw else []:
            found, expected = "a file that changed after the job was planned", "the file as it was then"
            raise RawDataError(
                Problem(path, found, expected, "run snakemake again, or this command") for path in changed
            )
        result = Manifest.describe(self.fingerprint, self.outputs)
        result.write(self.outputs[0])
        if self.artifact.stored:
            self.store.keep(dataclasses.replace(result, fingerprint=self._stored_fingerprint), self.outputs)

    def _input(self, input_name: str, annotation: Any) -> Path | list[Path] | None:  # noqa: ANN401
        kinds = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
        if Path not in kinds:
            return self.inputs.get(input_name, [])
        return self.optional_input(input_name) if NoneType in kinds else self.required_input(input_name)


def single_path(input_name: str, files: Sequence[Path]) -> Path:
    """Return the only path of an input.

    Raises
    ------
    ConfigError
        If there is none, or several.
    """
    if len(files) != 1:
        raise ConfigError(
            _flag(input_name), f"{len(files)} paths", "one", f"name one, or leave {_flag(input_name)} out"
        )
    return files[0]


def open_study(arguments: Arguments) -> "Study":
    """Read the configuration."""
    from pipeline.config.config import load
    from pipeline.graph.study import Study

    thorough = getattr(arguments, "thorough", False)
    return Study(load(arguments.config or [Path("config.yaml")]), thorough=thorough)


def job_of(arguments: Arguments, kind: type[Artifact]) -> Job:
    """Return the job that a command line describes.

    Parameters
    ----------
    arguments : Namespace
        The parsed command line.
    kind : type of Artifact
        The kind of result that the command makes, or a base class of it.

    Raises
    ------
    ConfigError
        If the plan is for another stage, the configuration does not contain the data set or experiment, or an input is
        named that the result is not made from.
    """
    kinds = (kind, *kind.__subclasses__())
    options = {name: getattr(arguments, name, None) for kind in kinds for name in kind.input_descriptions}
    named_inputs = {name: _paths(value) for name, value in options.items() if value is not None}
    fields = {field: getattr(arguments, field) for field in kind.fields()}
    default_inputs: dict[str, list[Path]] = {}
    store_limit = getattr(arguments, "store_gb", None)
    if arguments.plan is not None:
        plan = Plan.from_json(arguments.plan, STAGES)
        artifact = _planned_artifact(plan, kinds, fields)
    else:
        study = open_study(arguments)
        _require_known(arguments, study, kinds)
        artifact = kind.for_command(study, **fields)
        default_inputs = {name: [output.path for output in outputs] for name, outputs in artifact.inputs(study).items()}
        plan = (plan_without_inputs if named_inputs else plan_of)(artifact, study)
        # the store is not used for inputs named on the command line: their identity is not checked
        store_limit = 0 if named_inputs else study.config.store_gb if store_limit is None else store_limit
    for name in named_inputs.keys() - artifact.input_descriptions.keys():
        expected = f"inputs of {artifact.description}"
        raise ConfigError(
            _flag(name), "an input that the result is not made from", expected, f"leave out {_flag(name)}"
        )
    inputs = {name: named_inputs.get(name, default_inputs.get(name, [])) for name in artifact.input_descriptions}
    identities: dict[Path, str] = {}
    for name, input_identities in plan.made_from.items():
        identities.update(zip(inputs[name], input_identities, strict=False))
    for name in artifact.optional_inputs - named_inputs.keys():
        inputs[name] = [path for path in inputs[name] if exists(path)]
    output, store = arguments.output or artifact.destination, Store(store_limit or 0)
    require_short(output)
    job = Job(artifact, plan, inputs, identities, output, store, arguments)
    _require_replaceable(job)
    return job


def _require_replaceable(job: Job) -> None:
    """Refuse outputs whose names files or folders of the user have.

    Raises
    ------
    OutputError
        If a folder is a file or the reverse, or if a folder to replace has files and no manifest. A folder at its
        default path may have lost its manifest when a job was killed.
    """
    paths_of_folders = [job.output] * (len(job.outputs) > 1)
    problems = []
    for path, template in zip(job.outputs, job.artifact.files.values(), strict=True):
        if not template.suffix:
            paths_of_folders.append(path)
            if job.output.absolute() != job.artifact.destination.absolute() and _is_of_user(path):
                found = "a folder with files that the pipeline did not write, or that were changed"
                remedy = "name another folder with --output, or move these files away"
                problems.append(Problem(str(path), found, "a new or empty folder, or an earlier result", remedy))
        elif is_folder(path):
            problems.append(Problem(str(path), "a folder", "a file, or a new name", "name a file with --output"))
    problems += [
        Problem(str(path), "a file", "a folder, or a new name", "name a folder with --output")
        for path in paths_of_folders
        if exists(path) and not is_folder(path)
    ]
    if problems:
        raise OutputError(problems)


def _is_of_user(folder: Path) -> bool:
    """Return whether a folder has files, and is no result as the pipeline wrote it."""
    if not names_in(folder):
        return False
    result = manifest.find(folder)
    return result is None or result.is_edited(folder)


def _flag(input_name: str) -> str:
    return f"--{input_name.replace('_', '-')}"


def _paths(value: Any) -> list[Path]:  # noqa: ANN401 - a path, several, or a number in place of one
    if isinstance(value, Path):
        return [value]
    return [*value] if isinstance(value, list) else []


def _planned_artifact(plan: Plan, kinds: Sequence[type[Artifact]], fields: dict[str, Any]) -> Artifact:
    """Return the result that a plan describes."""
    kind = next((kind for kind in kinds if kind.stage == plan.stage), None)
    if kind is None:
        expected = f"a plan of stage {' or '.join(kind.stage.name for kind in kinds)}"
        raise ConfigError("--plan", f"a plan of stage {plan.stage.name!r}", expected, "use --config FILE instead")
    if plan.result.keys() != fields.keys():
        found, expected = (f"the fields {', '.join(keys) or 'none'} in `result`" for keys in (plan.result, fields))
        raise ConfigError("--plan", found, expected, "use --config FILE instead")
    for field, value in fields.items():
        planned = plan.result.get(field)
        if value not in (None, planned):
            found, expected = f"{field} {planned!r} in the plan", f"{field} {value!r}, the value of --{field}"
            raise ConfigError("--plan", found, expected, f"leave out --plan, or correct --{field}")
    return kind(**plan.result)


def _require_known(arguments: Arguments, study: "Study", kinds: Sequence[type[Artifact]]) -> None:
    """Require that the configuration contains the data set or experiment of the command line."""
    for section in ("dataset", "experiment"):
        name = getattr(arguments, section, None)
        known = sorted({name for kind in kinds if section in kind.fields() for name in kind.names(study)})
        if name is None or name in known:
            continue
        runs = study.runs.get(name, []) if section == "experiment" else []
        hint = f", an experiment of several runs: {', '.join(runs)}" if runs else ""
        if not runs and name in study.multiclass_methods:
            hint = ", of several classes"
        remedy = "name one of its runs" if runs else "correct the name"
        raise ConfigError(f"--{section}", f"{name!r}{hint}", f"one of {', '.join(known) or 'none'}", remedy)
