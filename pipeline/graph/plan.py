"""Stages, plans of results, and the fingerprints that follow from plans."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field, ValidationError

from pipeline.core.code import code_digests, library_versions
from pipeline.core.errors import ConfigError
from pipeline.core.fingerprint import Fingerprint, canonical, short_digest
from pipeline.core.options import Options


class NoRecipe(Options):
    """The recipe of a stage without settings."""


class Stage(NamedTuple):
    """The code that makes a kind of result.

    Parameters
    ----------
    recipe : type of Options
        The type of its settings.
    function : str
        Dotted path of the function that makes the result. It takes the settings, and as keyword arguments the fields
        of the result, the paths of each input (``Path``, ``Path | None`` or ``Sequence[Path]``) and ``output``.
    assets : str
        Folder under ``pipeline/`` with other files that affect the result, such as templates; empty for none.
    """

    name: str
    recipe: type[Options]
    function: str
    assets: str = ""

    @property
    def module(self) -> str:
        """The module of `function`."""
        return self.function.rpartition(".")[0]


@dataclass(frozen=True)
class Plan:
    """Everything that a result is made from; a rule passes it to a command.

    Parameters
    ----------
    result : dict of str to str or int
        The fields of the artifact.
    recipe : Options
        Its settings.
    raw : dict of str to str
        Digests of its raw data.
    made_from : dict of str to list of str
        Identities (see `Fingerprint`) of its inputs, by name of the input.
    """

    stage: Stage
    result: Mapping[str, str | int]
    recipe: Options
    raw: Mapping[str, str] = field(default_factory=dict)
    made_from: Mapping[str, list[str]] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the plan as canonical JSON, with the digest of the code of its stage."""
        plain = {"stage": self.stage.name, "result": self.result, "recipe": self.recipe.plain()}
        return canonical({**plain, "raw": self.raw, "made_from": self.made_from, "code": self.code_digest})

    @classmethod
    def from_json(cls, text: str, stages: Mapping[str, Stage]) -> "Plan":
        """Parse the JSON that `to_json` returned; `stages` are given by name.

        Raises
        ------
        ConfigError
            If it is not a plan, or the code or libraries of the stage have changed since it was made.
        """
        try:
            plain = _Plain.model_validate_json(text)
            stage = stages[plain.stage]
            plan = cls(stage, plain.result, stage.recipe.model_validate(plain.recipe), plain.raw, plain.made_from)
        except (ValidationError, KeyError) as error:
            expected = 'a JSON object {"stage": ..., "result": {...}, "recipe": {...}, ...}, as the workflow passes it'
            raise ConfigError("--plan", _validation_message(error), expected, "use --config FILE instead") from error
        if plain.code not in (None, plan.code_digest):
            actual, expected = f"a plan for other code or libraries of stage {stage.name}", "the current ones"
            remedy = "run snakemake again: they changed since it planned the job, or differ in the container of the job"
            raise ConfigError("--plan", actual, expected, remedy)
        return plan

    def code(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Return digests of the code that the stage runs, and versions of the libraries that this code imports.

        Modules that the settings select, such as that of a network, are included.
        """
        return stage_code(self.stage, frozenset(self.recipe.modules()))

    @property
    def code_digest(self) -> str:
        """A short digest of `code`."""
        return _code_digest(self.stage, frozenset(self.recipe.modules()))

    def fingerprint(self) -> Fingerprint:
        """Return the fingerprint of the result that the current code makes."""
        code, libraries = self.code()
        settings = {**self.recipe.fingerprint_settings().plain(), **self.result}
        return Fingerprint(self.stage.name, settings, code, libraries, self.raw, self.made_from)


class _Plain(Options):
    """The JSON form of a plan."""

    stage: str
    result: dict[str, int | str]
    recipe: dict[str, Any]
    raw: dict[str, str] = Field({})
    made_from: dict[str, list[str]] = Field({})
    code: str | None = None


def _validation_message(error: ValidationError | KeyError) -> str:
    if isinstance(error, KeyError):
        return f"no stage {error}"
    messages = (f"{'.'.join(map(str, item['loc']))}: {item['msg']} ({item['input']!r:.60})" for item in error.errors())
    return "; ".join(messages)


@cache
def _code_digest(stage: Stage, selected: frozenset[str]) -> str:
    return short_digest(canonical(stage_code(stage, selected)))


@cache
def stage_code(stage: Stage, selected: frozenset[str] = frozenset()) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return digests of the code that a stage runs, and versions of the libraries that this code imports.

    Modules that its settings select are included.
    """
    roots = [stage.module, *selected]
    code = code_digests(roots)
    assets = (Path(__file__).parents[1] / stage.assets).iterdir() if stage.assets else ()
    files = [path for path in sorted(assets) if path.is_file()]
    asset_digests = {f"file {path.name}": hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in files}
    return {**code, **asset_digests}, library_versions(roots)
