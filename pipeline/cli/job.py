"""What a command is to make, by what, from what, and where: told by the configuration, or by what a rule passes."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.cli.commands import Arguments
from pipeline.core.errors import ConfigError
from pipeline.core.options import Options
from pipeline.graph.artifacts.base import Artifact
from pipeline.graph.stages import Plan
from pipeline.graph.stored import require_origin

if TYPE_CHECKING:
    from pipeline.graph.study import Study

_Recipe = TypeVar("_Recipe", bound=Options)


@dataclass
class Job:
    """What a command is to do.

    Parameters
    ----------
    artifact : Artifact
    plan : Plan
        Whoever names an input means that file, whatever made it: then the plan says nothing of what it is made from.
    inputs : dict of str to list of Path
        By part.
    output : Path
    """

    artifact: Artifact
    plan: Plan
    inputs: dict[str, list[Path]]
    output: Path

    def recipe(self, kind: type[_Recipe]) -> _Recipe:
        """Return the settings."""
        assert isinstance(self.plan.recipe, kind)
        return self.plan.recipe

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

    def only(self, *parts: str) -> None:
        """Go on with some parts alone."""
        self.inputs = {part: paths for part, paths in self.inputs.items() if part in parts}
        made_from = {part: plan for part, plan in self.plan.made_from.items() if part in parts}
        self.plan = dataclasses.replace(self.plan, made_from=made_from)

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the result in its one spelling."""
        return self.plan.fingerprint().to_json()

    def require_origin(self) -> None:
        """Refuse inputs that something else made than they have to be made by; see `pipeline.graph.stored`."""
        asked = []
        for part in self.plan.made_from:
            for number, path in enumerate(self.inputs.get(part, [])):
                if (plan := self.plan.part(part, number)) is not None:
                    asked.append((path, plan.fingerprint()))
        require_origin(asked)


def only_one(part: str, given: Sequence[Path]) -> Path:
    """Return the only path of a part.

    Raises
    ------
    ConfigError
        If there is none, or several.
    """
    if len(given) != 1:
        option = f"--{part.replace('_', '-')}"
        raise ConfigError(option, f"{len(given)} paths", "one", f"name one, or leave {option} out")
    return given[0]


def open_study(arguments: Arguments) -> "Study":
    """Read the configuration."""
    from pipeline.config.config import load
    from pipeline.graph.study import Study

    return Study(load(arguments.config or [Path("config.yaml")]))


def job_of(arguments: Arguments, *kinds: type[Artifact], choose: Callable[["Study"], Artifact] | None = None) -> Job:
    """Find out what to do.

    Parameters
    ----------
    arguments : Arguments
    kinds : type of Artifact
        What the command may make.
    choose : callable, optional
        Which result it is by the configuration; without it, the only kind with the fields that are named.

    Raises
    ------
    ConfigError
        If the plan is of another stage, or the configuration does not name the data set or experiment.
    """
    given = {part: getattr(arguments, part, None) for kind in kinds for part in kind.parts}
    by_hand = any(paths is not None for paths in given.values())
    if arguments.plan is not None:
        plan = Plan.from_json(arguments.plan)
        artifact = _planned(arguments, plan, kinds)
        inputs = {part: _paths(given[part]) for part in artifact.parts}
    else:
        study = open_study(arguments)
        _require_known(arguments, study, kinds)
        artifact = choose(study) if choose is not None else kinds[0](**_fields(arguments, kinds[0]))
        needs = artifact.needs(study)
        plan = study.plan(artifact)
        plan = dataclasses.replace(plan, made_from={}) if by_hand else plan
        inputs = {
            part: [one.path for one in needs.get(part, [])] if given[part] is None else _paths(given[part])
            for part in artifact.parts
        }
    return Job(artifact, plan, inputs, arguments.output or artifact.place)


def _paths(given: Any) -> list[Path]:  # noqa: ANN401 - paths, one of them, a number in place of one, or nothing
    if isinstance(given, Path):
        return [given]
    return [*given] if isinstance(given, list) else []


def _fields(arguments: Arguments, kind: type[Artifact]) -> dict[str, Any]:
    return {field: getattr(arguments, field) for field in kind.fields()}


def _planned(arguments: Arguments, plan: Plan, kinds: tuple[type[Artifact], ...]) -> Artifact:
    """Return the result that a plan is for."""
    kind = next((kind for kind in kinds if kind.stage == plan.stage), None)
    if kind is None:
        expected = f"a plan of stage {' or '.join(kind.stage for kind in kinds)}"
        raise ConfigError("--plan", f"a plan of stage {plan.stage!r}", expected, "use --config FILE instead")
    fields = _fields(arguments, kind)
    for field, value in fields.items():
        planned = getattr(plan.recipe, field, value)
        if value is None:
            fields[field] = planned
        elif planned != value:
            found, expected = f"{field} {planned!r} in the plan", f"{field} {value!r}, as --{field} says"
            raise ConfigError("--plan", found, expected, f"leave out --plan, or correct --{field}")
    return kind(**fields)


def _require_known(arguments: Arguments, study: "Study", kinds: tuple[type[Artifact], ...]) -> None:
    """Refuse a data set or experiment that the configuration does not name."""
    for section in ("dataset", "experiment"):
        name = getattr(arguments, section, None)
        known = sorted({name for kind in kinds if section in kind.fields() for name in kind.names(study)})
        if name is None or name in known:
            continue
        runs = study.seeded.get(name, []) if section == "experiment" else []
        several = f", an experiment of several runs: {', '.join(runs)}" if runs else ""
        remedy = "name one of its runs" if runs else "correct the name"
        expected = f"one of {', '.join(known) or 'none'}"
        raise ConfigError(f"--{section}", f"{name!r}{several}", expected, remedy)
