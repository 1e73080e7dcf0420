"""What a file under ``results/`` is: read off its path, and off what it says of itself."""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core import paths
from pipeline.core.errors import PipelineError, Problem, ShardError
from pipeline.core.fingerprint import canonical, read_fingerprint
from pipeline.evaluation.entrants import split_name
from pipeline.raw.inspect import read_file
from pipeline.raw.samples import Sample
from pipeline.raw.splits.names import OUT_OF_FOLD, SPLITS
from pipeline.shards.prepare import source_digest
from pipeline.shards.read import open_shard

KNOWN = (
    "shards/<data set>/<split>-<k>.h5",
    "splits/<data set>.csv",
    "folds/<data set>/<k>.json",
    "check/<data set>.json",
    "models/<experiment>[/<file>]",
    "predictions/<experiment>/threshold.json",
    "predictions/<experiment>/<split>/<kind>[/<file>]",
    "metrics/<experiment>[/<file>]",
    "comparisons.csv",
    "tensorboard/<experiment>/<file>",
    "leaderboard.csv",
    "report.html",
)
"""What can be explained."""

UNSIGNED = frozenset(
    {
        *("augmented", "average", "check", "comparisons", "curves", "leaderboard", "report", "splits", "submission"),
        "tensorboard",
    }
)
"""Stages that keep no fingerprint of their own: they are as current as what they are made from."""

_SHARD = re.compile(rf"({'|'.join(SPLITS)})-(0|[1-9]\d*)\.h5")
_FOLDS = re.compile(r"([1-9]\d*)\.json")
_TRAINED = ("best.pt", "last.pt", "history.csv", "timing.csv", "provenance.json")
_DRAWN = ("mask", "colour", "overlay", "panel", "sheet.png", "legend.png")


@dataclass(frozen=True)
class Place:
    """What stands at a path.

    Parameters
    ----------
    path : Path
        What was asked for.
    stage : str
        What makes it: a key of `pipeline.graph.stages.STAGES`.
    what : str
        In words.
    target : str
        What to tell Snakemake to make it.
    signed : Path
        The file or folder that was made as one, and holds the fingerprint where there is one.
    dataset, experiment, split, kind : str, optional
    number : int, optional
        Of a shard; how many folds there are.
    """

    path: Path
    stage: str
    what: str
    target: str
    signed: Path
    dataset: str | None = None
    experiment: str | None = None
    split: str | None = None
    kind: str | None = None
    number: int | None = None


def identify(
    path: Path,
    *,
    several_classes: Collection[str],
    averaged: Collection[str],
    baselines: Collection[str],
    ensembles: Collection[str] = (),
) -> Place:
    """Tell from its path what stands there.

    Parameters
    ----------
    path : Path
        Below `pipeline.core.paths.RESULTS`.
    several_classes : collection of str
        Experiments whose predictions are class indices.
    averaged : collection of str
        Experiments of several seeds or folds.
    baselines, ensembles : collection of str
        What is scored beside the experiments.

    Raises
    ------
    PipelineError
        If the pipeline writes nothing of this name.
    """
    match path.relative_to(paths.RESULTS).parts:
        case ("leaderboard.csv",):
            return Place(path, "leaderboard", "table of the scores of all experiments", "leaderboard", path)
        case ("comparisons.csv",):
            return Place(path, "comparisons", "table of all entrants against each other", str(path), path)
        case ("report.html",):
            return Place(path, "report", "page about all data sets, experiments and scores", "report", path)
        case ("shards", dataset, name) if shard := _SHARD.fullmatch(name):
            what = f"shard {shard[2]} of the {shard[1]} samples of data set {dataset}"
            number = int(shard[2])
            return Place(path, "shard", what, str(path), path, dataset, split=shard[1], number=number)
        case ("splits", name) if name.endswith(".csv"):
            dataset = name.removesuffix(".csv")
            what = f"table of which sample of data set {dataset} stands where"
            return Place(path, "splits", what, str(path), path, dataset)
        case ("folds", dataset, name) if folds := _FOLDS.fullmatch(name):
            what = f"table of which sample of data set {dataset} belongs to which of {folds[1]} folds"
            return Place(path, "folds", what, str(path), path, dataset, number=int(folds[1]))
        case ("check", name) if Path(name).suffix in (".json", ".html", ".png"):
            dataset = Path(name).stem
            return Place(path, "check", f"report on the raw files of {dataset}", f"check_{dataset}", path, dataset)
        case ("models", name, *rest) if len(rest) < 2 and (not rest or rest[0] in _TRAINED):
            file = rest[0] if rest else "best.pt"
            what = f"{'folder' if not rest else file} of the training of experiment {name}"
            signed = paths.model(name) / (file if file.endswith(".pt") else "best.pt")
            return Place(path, "train", what, f"models_{name}", signed, experiment=name)
        case ("models", name, ("curves.png" | "augmented.png") as file):
            stage = file.removesuffix(".png")
            words = {"curves": "learning curves", "augmented": "augmented training samples"}
            what = f"picture of the {words[stage]} of experiment {name}"
            return Place(path, stage, what, f"models_{name}", path, experiment=name)
        case ("predictions", name, "threshold.json"):
            return Place(path, "threshold", f"threshold of experiment {name}", str(path), path, experiment=name)
        case ("predictions", name, split, kind, *rest) if split in (*SPLITS, OUT_OF_FOLD) and (
            stage := _picture_stage(
                kind, name in several_classes, "baseline" * (name in baselines) or "ensemble" * (name in ensembles)
            )
        ):
            what = f"{kind} of the {split} samples of experiment {name}"
            what = f"{'/'.join(rest)} in the folder {what}" if rest else what
            folder = paths.prediction(name, split)
            signed = folder / ("overlay" if kind.endswith(".png") else kind)
            target = f"predictions_{split_name(name)[0] if name in ensembles else name}"
            return Place(path, stage, what, target, signed, None, name, split, kind)
        case ("tensorboard", name, file) if file == paths.events(name).name:
            what = f"history of the training of experiment {name}, for TensorBoard"
            return Place(path, "tensorboard", what, str(path), path, experiment=name)
        case ("metrics", name, *rest) if len(rest) < 2:
            if name in averaged:
                what = f"mean and spread of the scores of experiment {name} over its runs"
                return Place(path, "average", what, f"metrics_{name}", paths.metrics(name), experiment=name)
            stage = "evaluate_classes" if name in several_classes else "evaluate"
            what = f"scores of experiment {name}"
            target = f"metrics_{split_name(name)[0] if name in ensembles else name}"
            return Place(path, stage, what, target, paths.metrics(name), experiment=name)
    raise PipelineError(
        Problem(
            str(path),
            "a name that the pipeline gives to nothing that can be explained",
            f"one of these, below {paths.RESULTS}/: {', '.join(KNOWN)}",
            "correct the path",
        )
    )


def _picture_stage(kind: str, several_classes: bool, without_network: str) -> str:
    """Return the stage that makes a kind of pictures, empty where none does."""
    if kind == "probability" or (kind == "mask" and several_classes):
        return without_network or "predict"
    if kind == "submission":
        return kind
    return ("render_classes" if several_classes else "render") if kind in _DRAWN else ""


def stored(place: Place) -> str | None:
    """Return the fingerprint that a result keeps, as text; None where there is none.

    Raises
    ------
    CheckpointError, ShardError
        If the file cannot be read.
    """
    if place.stage == "shard":
        return shard_attribute(place.signed, "fingerprint")
    if place.stage == "train":
        from pipeline.training.checkpoint import load_checkpoint

        said = load_checkpoint(place.signed).get("fingerprint")
        return said if isinstance(said, str) else None
    if place.stage in ("threshold", "folds"):
        try:
            return canonical(json.loads(place.signed.read_text(encoding="utf-8"))["fingerprint"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
    return read_fingerprint(place.signed)


def shard_attribute(path: Path, name: str) -> str | None:
    """Read one text that a shard says of itself.

    Raises
    ------
    ShardError
    """
    try:
        with open_shard(path) as file:
            said = file.attrs.get(name)
    except OSError as error:
        found = f"not a whole shard ({' '.join(str(error).split())[:120]})"
        remedy = "delete the file and run snakemake again"
        raise ShardError(Problem(str(path), found, "an HDF5 shard of this pipeline", remedy)) from error
    return said if isinstance(said, str) else None


def changed_sources(path: Path, members: Sequence[Sample]) -> list[str]:
    """Compare what a shard was made from with the raw files that are there.

    Parameters
    ----------
    path : Path
        The shard.
    members : sequence of Sample
        The samples that should be in it.

    Returns
    -------
    list of str
        In words, one for each kind of difference.
    """
    with open_shard(path) as file:
        digests = dict(zip(file["ids"].asstr()[:], file["source_sha256"].asstr()[:], strict=True))
    now = {sample.id: sample for sample in members}
    edited = [name for name in now.keys() & digests.keys() if _digest_now(now[name]) != digests[name]]
    return [
        f"{text}: {some(names)}"
        for text, names in (
            ("raw files changed since", edited),
            ("samples that do not stand in it any more", digests.keys() - now.keys()),
            ("samples that stand in it by now", now.keys() - digests.keys()),
        )
        if names
    ]


def _digest_now(sample: Sample) -> str:
    """Digest the raw files of a sample; empty where one cannot be read."""
    try:
        return source_digest(sample, {path: read_file(sample, path) for path in sample.files})
    except PipelineError:
        return ""


def some(names: Iterable[str], most: int = 5) -> str:
    """Join the first few of some names, and count the rest."""
    listed = sorted(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return f"{', '.join(listed[:most])}{more}"


def flat(settings: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Spell settings as ``key.key: value``, one each; empty mappings and None are left out."""
    said = []
    for key, value in sorted(settings.items()):
        if isinstance(value, Mapping):
            said += flat(value, f"{prefix}{key}.")
        elif value is not None:
            said.append(f"{prefix}{key}: {value}")
    return said
