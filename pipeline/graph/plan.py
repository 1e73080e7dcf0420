"""Stages, what a result is to be made by (its plan), and the fingerprint that follows from it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from pipeline.core.code import code_digests, library_versions
from pipeline.core.errors import ConfigError
from pipeline.core.fingerprint import Fingerprint, canonical
from pipeline.core.options import Options
from pipeline.prediction.recipes import EnsembleRecipe, PredictRecipe, Run
from pipeline.training.recipes import TrainRecipe


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
        parts that it is made from (as ``Path``, ``Path | None`` or ``Sequence[Path]``), ``output`` and ``fingerprint``.
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
    """What a result is to be made by, all the way down.

    Parameters
    ----------
    recipe : Options
        Its settings.
    made_from : dict of str to Plan
        What it is made from, by part; raw files are not among them. Of the predictions of an ensemble, which differ in
        seed and fold alone, the plan of the first run stands for all: those of all would be too long for a command.
    """

    stage: Stage
    recipe: Options
    made_from: Mapping[str, "Plan"] = field(default_factory=dict)

    def part(self, name: str, number: int = 0) -> "Plan | None":
        """Return the plan of the result that comes as `number` in a part; None where nothing is known of it."""
        plan = self.made_from.get(name)
        if plan is not None and isinstance(self.recipe, EnsembleRecipe) and isinstance(plan.recipe, PredictRecipe):
            return _of_run(plan, self.recipe.runs[sorted(self.recipe.runs)[number]])
        return plan

    def to_json(self) -> str:
        """Return it as canonical JSON."""
        return canonical(self._plain())

    def _plain(self) -> dict[str, Any]:
        made_from = {part: plan._plain() for part, plan in self.made_from.items()}
        return {"stage": self.stage.name, "recipe": self.recipe.plain(), "made_from": made_from}

    @classmethod
    def from_json(cls, text: str, stages: Mapping[str, Stage]) -> "Plan":
        """Read what `to_json` gave; `stages` by name.

        Raises
        ------
        ConfigError
            If the text says something else.
        """

        def read(plain: Any) -> Plan:  # noqa: ANN401 - whatever a text holds
            made_from = {part: read(plan) for part, plan in plain.get("made_from", {}).items()}
            stage = stages[plain["stage"]]
            return cls(stage, stage.recipe.model_validate(plain["recipe"]), made_from)

        try:
            return read(json.loads(text))
        except json.JSONDecodeError as error:
            found = f"text that is no JSON ({error})"
        except ValidationError as error:
            found = "; ".join(
                f"{'.'.join(map(str, one['loc']))}: {one['msg']} ({one['input']!r:.60})" for one in error.errors()
            )
        except (KeyError, TypeError, AttributeError) as error:
            found = f"what cannot be followed ({error!r})"
        expected = 'a JSON object {"stage": ..., "recipe": {...}, "made_from": {...}}, as the workflow passes it'
        raise ConfigError("--plan", found, expected, "use --config FILE instead")

    def code(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Return digests of the code that the stage runs, and versions of the libraries below it.

        What its settings choose, such as a layout or a network, counts with it; and the network that its checkpoint is
        one of.
        """
        chosen = self.recipe.modules()
        if "checkpoint" in self.made_from:
            chosen |= self.made_from["checkpoint"].recipe.modules()
        return stage_code(self.stage, frozenset(chosen))

    @property
    def code_digest(self) -> str:
        """A short digest of `code`: a job whose digest changes has to run again."""
        code, libraries = self.code()
        return Fingerprint(self.stage.name, {}, dict(code), dict(libraries)).digest[:16]

    def fingerprint(self) -> Fingerprint:
        """Return the fingerprint that the result has when it is made by the code that is here."""
        code, libraries = self.code()
        parts = {part: plan.fingerprint().brief() for part, plan in self.made_from.items()}
        return Fingerprint(self.stage.name, self.recipe.deciding().plain(), dict(code), dict(libraries), parts)


def _of_run(plan: Plan, run: Run) -> Plan:
    """Turn the plan of one run's predictions into that of another."""
    network = plan.made_from["checkpoint"]
    trained, predicted = network.recipe, plan.recipe
    assert isinstance(trained, TrainRecipe)
    assert isinstance(predicted, PredictRecipe)
    checkpoint = Plan(network.stage, trained.changed(seed=run.seed, fold=run.fold), network.made_from)
    fold = run.fold if predicted.fold is not None else None
    return Plan(plan.stage, predicted.changed(fold=fold), {**plan.made_from, "checkpoint": checkpoint})


@cache
def stage_code(stage: Stage, chosen: frozenset[str] = frozenset()) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return digests of the code that a stage runs, and versions of the libraries below it.

    Modules that its settings choose count with it.
    """
    code = code_digests([stage.module, *chosen])
    assets = (Path(__file__).parents[1] / stage.assets).iterdir() if stage.assets else ()
    files = [path for path in sorted(assets) if path.is_file()]
    contents = {f"file {path.name}": hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in files}
    return {**code, **contents}, library_versions(code)
