"""Stages, what a result is to be made by (its plan), and the fingerprint that follows from it."""

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
    """What a stage is made by that has no settings."""


class Stage(NamedTuple):
    """What makes a kind of result.

    Parameters
    ----------
    recipe : type of Options
        The type of its settings.
    function : str
        Dotted path of the function that makes it. It takes the settings, and by keyword the fields of the result, the
        parts that it is made from (as ``Path``, ``Path | None`` or ``Sequence[Path]``) and ``output``.
    assets : str
        Folder under ``pipeline/`` of files that are no modules and decide what it makes; empty for none.
    """

    name: str
    recipe: type[Options]
    function: str
    assets: str = ""

    @property
    def module(self) -> str:
        """The module of its function."""
        return self.function.rpartition(".")[0]


@dataclass(frozen=True)
class Plan:
    """What a result is to be made by.

    Parameters
    ----------
    result : dict of str to str or int
        Which result of the stage it is: the fields of the artifact.
    recipe : Options
        Its settings.
    raw : dict of str to str
        Digests of the raw data that it is made from.
    made_from : dict of str to list of str
        The identities (see `Fingerprint`) of the results that it is made from, by part.
    """

    stage: Stage
    result: Mapping[str, str | int]
    recipe: Options
    raw: Mapping[str, str] = field(default_factory=dict)
    made_from: Mapping[str, list[str]] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return it as canonical JSON, with the digest of the code that is to carry it out."""
        plain = {"stage": self.stage.name, "result": self.result, "recipe": self.recipe.plain()}
        return canonical({**plain, "raw": self.raw, "made_from": self.made_from, "code": self.code_digest})

    @classmethod
    def from_json(cls, text: str, stages: Mapping[str, Stage]) -> "Plan":
        """Read what `to_json` gave; `stages` by name.

        Raises
        ------
        ConfigError
            If the text says something else, or code or libraries of the stage are others.
        """
        try:
            plain = _Plain.model_validate_json(text)
            stage = stages[plain.stage]
            plan = cls(stage, plain.result, stage.recipe.model_validate(plain.recipe), plain.raw, plain.made_from)
        except (ValidationError, KeyError) as error:
            expected = 'a JSON object {"stage": ..., "result": {...}, "recipe": {...}, ...}, as the workflow passes it'
            raise ConfigError("--plan", _what_is_wrong(error), expected, "use --config FILE instead") from error
        if plain.code not in (None, plan.code_digest):
            found, expected = f"a plan for other code or libraries of stage {stage.name}", "those that are here"
            remedy = "run snakemake again: they changed since it looked, or are others in the container of the job"
            raise ConfigError("--plan", found, expected, remedy)
        return plan

    def code(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Return digests of the code that the stage runs, and versions of the libraries below it.

        What its settings choose, such as a layout or a network, counts with it.
        """
        return stage_code(self.stage, frozenset(self.recipe.modules()))

    @property
    def code_digest(self) -> str:
        """A short digest of `code`."""
        return short_digest(canonical(self.code()))

    def fingerprint(self) -> Fingerprint:
        """Return the fingerprint that the result has when it is made by the code that is here."""
        code, libraries = self.code()
        settings = {**self.recipe.deciding().plain(), **self.result}
        return Fingerprint(self.stage.name, settings, code, libraries, self.raw, self.made_from)


class _Plain(Options):
    """A plan as text."""

    stage: str
    result: dict[str, int | str]
    recipe: dict[str, Any]
    raw: dict[str, str] = Field({})
    made_from: dict[str, list[str]] = Field({})
    code: str | None = None


def _what_is_wrong(error: ValidationError | KeyError) -> str:
    if isinstance(error, KeyError):
        return f"no stage {error}"
    said = (f"{'.'.join(map(str, one['loc']))}: {one['msg']} ({one['input']!r:.60})" for one in error.errors())
    return "; ".join(said)


@cache
def stage_code(stage: Stage, chosen: frozenset[str] = frozenset()) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return digests of the code that a stage runs, and versions of the libraries below it.

    Modules that its settings choose count with it.
    """
    roots = [stage.module, *chosen]
    code = code_digests(roots)
    assets = (Path(__file__).parents[1] / stage.assets).iterdir() if stage.assets else ()
    files = [path for path in sorted(assets) if path.is_file()]
    contents = {f"file {path.name}": hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in files}
    return {**code, **contents}, library_versions(roots)
