"""The stages of the pipeline and the modules that each of them starts from."""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.core.fingerprint import Fingerprint, canonical, code_digests, library_versions
from pipeline.models.names import MODELS
from pipeline.raw.layouts.registry import LAYOUTS

STAGES = {
    "augmented": ("pipeline.training.preview",),
    "baseline": ("pipeline.evaluation.baselines",),
    "average": ("pipeline.report.average",),
    "check": ("pipeline.raw.check.run",),
    "comparisons": ("pipeline.report.comparisons",),
    "curves": ("pipeline.report.curves",),
    "evaluate": ("pipeline.evaluation.evaluate",),
    "evaluate_classes": ("pipeline.evaluation.evaluate_classes",),
    "ensemble": ("pipeline.prediction.ensemble",),
    "folds": ("pipeline.raw.splits.folds",),
    "leaderboard": ("pipeline.report.leaderboard",),
    "predict": ("pipeline.prediction.predict",),
    "render": ("pipeline.evaluation.pictures",),
    "render_classes": ("pipeline.evaluation.pictures_of_classes",),
    "report": ("pipeline.report.build",),
    "shard": ("pipeline.shards.write",),
    "splits": ("pipeline.raw.splits.table",),
    "submission": ("pipeline.evaluation.submission",),
    "tensorboard": ("pipeline.report.tensorboard",),
    "threshold": ("pipeline.evaluation.choice",),
    "train": ("pipeline.training.run",),
}
"""Stage to its root modules; the layout and the network that the settings name are added to them."""

ASSETS = {"report": Path(__file__).parents[1] / "report" / "assets"}
"""Stage to the folder of files that are no modules and decide what it makes: template, style and script of the page."""

_MEMBERS = ("exclude", "cache")
"""Keys of the `source` of shards or tables of folds that decide which samples are in them, or how soon that is known:
like the raw files, they are seen to for each file, and one sample more or less must not make the others outdated."""


@cache
def stage_code(
    stage: str, layout: str | None = None, model: str | None = None
) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return digests of the code that a stage runs, and versions of the libraries below it.

    Parameters
    ----------
    stage : str
        A key of `STAGES`.
    layout, model : str, optional
        Which layout and network it works with.
    """
    roots, chosen = [*STAGES[stage]], {}
    if layout in LAYOUTS:  # the stage itself complains about a name that nobody knows
        roots.append(LAYOUTS[layout])
    if model in MODELS:
        module, name = MODELS[model]
        roots.append(module)
        chosen[f"network {model}"] = f"{module}.{name}"
    code = code_digests(roots)
    if stage in ASSETS:
        chosen |= {f"file {path.name}": _content(path) for path in sorted(ASSETS[stage].iterdir()) if path.is_file()}
    return {**code, **chosen}, library_versions(code)


def _content(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def code_digest(plan: Mapping[str, Any]) -> str:
    """Return one short digest of what `stage_code` gives for a plan: a job whose digest changes has to run again."""
    code, libraries = stage_code(plan["stage"], *_chosen(plan))
    return Fingerprint(plan["stage"], {}, dict(code), dict(libraries)).digest[:16]


def fingerprint(plan: Mapping[str, Any]) -> Fingerprint:
    """Return the fingerprint that a result has when it is made by the code that is here.

    Parameters
    ----------
    plan : mapping
        ``stage``; ``settings``; and ``made_from``, from each part to its plan, where there is any.
    """
    settings = json.loads(canonical(plan["settings"]))
    if plan["stage"] in ("shard", "folds"):
        settings = without_members(settings)
    code, libraries = stage_code(plan["stage"], *_chosen(plan))
    parts = {part: fingerprint(made).brief() for part, made in plan.get("made_from", {}).items()}
    return Fingerprint(plan["stage"], settings, dict(code), dict(libraries), parts)


def without_members(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of a shard or a table of folds less what concerns single samples, which can fill a command."""
    source = settings.get("source")
    if not isinstance(source, Mapping):
        return dict(settings)
    return {**settings, "source": {key: value for key, value in source.items() if key not in _MEMBERS}}


def _chosen(plan: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the layout and the network that the settings name; a prediction builds that of its checkpoint."""
    settings = plan["settings"]
    trained = plan.get("made_from", {}).get("checkpoint", {}).get("settings", {})
    return _name(settings, "source", "layout"), _name(settings, "model", "name") or _name(trained, "model", "name")


def _name(settings: Mapping[str, Any], section: str, key: str) -> str | None:
    """Look a name up in settings that nobody has checked yet."""
    inner = settings.get(section)
    name = inner.get(key) if isinstance(inner, Mapping) else None
    return name if isinstance(name, str) else None
