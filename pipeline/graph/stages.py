"""The stages of the pipeline: what each is made by, and the module that it starts from; plans and fingerprints."""

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
from pipeline.evaluation.recipes import (
    BaselineRecipe,
    EvaluateRecipe,
    RenderRecipe,
    SubmissionRecipe,
    ThresholdRecipe,
)
from pipeline.prediction.recipes import EnsembleRecipe, PredictRecipe, Run
from pipeline.raw.recipes import CheckRecipe, FoldsRecipe, SplitsRecipe
from pipeline.report.recipes import AverageRecipe, CurvesRecipe, ReportRecipe
from pipeline.shards.recipes import ShardRecipe
from pipeline.training.recipes import AugmentedRecipe, TrainRecipe


class NoRecipe(Options):
    """What a stage is made by that has no settings."""


class Stage(NamedTuple):
    """A stage: the type of its settings, and the module that it starts from."""

    recipe: type[Options]
    module: str


STAGES = {
    "augmented": Stage(AugmentedRecipe, "pipeline.training.preview"),
    "baseline": Stage(BaselineRecipe, "pipeline.evaluation.baselines"),
    "average": Stage(AverageRecipe, "pipeline.report.average"),
    "check": Stage(CheckRecipe, "pipeline.raw.check.run"),
    "comparisons": Stage(NoRecipe, "pipeline.report.comparisons"),
    "curves": Stage(CurvesRecipe, "pipeline.report.curves"),
    "evaluate": Stage(EvaluateRecipe, "pipeline.evaluation.evaluate"),
    "evaluate_classes": Stage(EvaluateRecipe, "pipeline.evaluation.evaluate_classes"),
    "ensemble": Stage(EnsembleRecipe, "pipeline.prediction.ensemble"),
    "folds": Stage(FoldsRecipe, "pipeline.raw.splits.folds"),
    "leaderboard": Stage(NoRecipe, "pipeline.report.leaderboard"),
    "predict": Stage(PredictRecipe, "pipeline.prediction.predict"),
    "render": Stage(RenderRecipe, "pipeline.evaluation.pictures"),
    "render_classes": Stage(RenderRecipe, "pipeline.evaluation.pictures_of_classes"),
    "report": Stage(ReportRecipe, "pipeline.report.build"),
    "shard": Stage(ShardRecipe, "pipeline.shards.write"),
    "splits": Stage(SplitsRecipe, "pipeline.raw.splits.table"),
    "submission": Stage(SubmissionRecipe, "pipeline.evaluation.submission"),
    "tensorboard": Stage(NoRecipe, "pipeline.report.tensorboard"),
    "threshold": Stage(ThresholdRecipe, "pipeline.evaluation.choice"),
    "train": Stage(TrainRecipe, "pipeline.training.run"),
}

ASSETS = {"report": Path(__file__).parents[1] / "report" / "assets"}
"""Stage to the folder of files that are no modules and decide what it makes: template, style and script of the page."""


@dataclass(frozen=True)
class Plan:
    """What a result is to be made by, all the way down.

    Parameters
    ----------
    stage : str
        A key of `STAGES`.
    recipe : Options
        Its settings.
    made_from : dict of str to Plan
        What it is made from, by part; raw files are not among them. Of the predictions of an ensemble, which differ in
        seed and fold alone, the plan of the first run stands for all: those of all would be too long for a command.
    """

    stage: str
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
        return {"stage": self.stage, "recipe": self.recipe.plain(), "made_from": made_from}

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """Read what `to_json` gave.

        Raises
        ------
        ConfigError
            If the text says something else.
        """
        try:
            return cls._of(json.loads(text))
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

    @classmethod
    def _of(cls, plain: Any) -> "Plan":  # noqa: ANN401 - whatever a text holds
        made_from = {part: cls._of(plan) for part, plan in plain.get("made_from", {}).items()}
        return cls(plain["stage"], STAGES[plain["stage"]].recipe.model_validate(plain["recipe"]), made_from)

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
        return Fingerprint(self.stage, {}, dict(code), dict(libraries)).digest[:16]

    def fingerprint(self) -> Fingerprint:
        """Return the fingerprint that the result has when it is made by the code that is here."""
        code, libraries = self.code()
        parts = {part: plan.fingerprint().brief() for part, plan in self.made_from.items()}
        return Fingerprint(self.stage, self.recipe.deciding().plain(), dict(code), dict(libraries), parts)


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
def stage_code(stage: str, chosen: frozenset[str] = frozenset()) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return digests of the code that a stage runs, and versions of the libraries below it.

    Parameters
    ----------
    stage : str
        A key of `STAGES`.
    chosen : frozenset of str
        Modules that its settings choose.
    """
    code = code_digests([STAGES[stage].module, *chosen])
    files = [path for path in sorted(ASSETS[stage].iterdir()) if path.is_file()] if stage in ASSETS else []
    contents = {f"file {path.name}": hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in files}
    return {**code, **contents}, library_versions(code)
