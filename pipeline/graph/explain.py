"""Tell in words where a result comes from, and whether it is what today's configuration and code would make."""

import os
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.config.config import Config
from pipeline.core import paths
from pipeline.core.errors import PipelineError, Problem
from pipeline.core.fingerprint import LIBRARIES, Fingerprint, differences
from pipeline.evaluation.entrants import OBSERVER, split_name
from pipeline.graph import plans
from pipeline.graph.identify import UNSIGNED, Place, changed_sources, flat, identify, shard_attribute, some, stored
from pipeline.graph.stages import STAGES, fingerprint
from pipeline.raw.dataset import RawDataset, open_dataset
from pipeline.raw.splits.fold_table import read_fold_table
from pipeline.raw.splits.folds import assign_folds
from pipeline.raw.splits.names import OUT_OF_FOLD, SPLITS, VALIDATION
from pipeline.tools import provenance

_WIDTH = 116
_MADE_OF_RESULTS = ("train", "augmented", "curves", "tensorboard", "predict", "ensemble")
"""Stages that read no raw files."""


def explain(config: Config, given: Path) -> None:
    """Print what stands at a path, what made it, from what, and whether it is current.

    Parameters
    ----------
    config : Config
        Today's.
    given : Path
        A file or folder under ``results/``.

    Raises
    ------
    PipelineError
        If the path is not there, or nothing that the pipeline makes.
    """
    judge = _Judge(config)
    place = judge.place(_below_results(given))
    for path in (place.path, place.signed):
        if not path.exists():
            remedy = f"run `snakemake {place.target}`"
            raise PipelineError(Problem(str(path), "no such file or folder", "a result that was made", remedy))
    reasons = judge.reasons(place, thorough=True)
    print(place.path)
    dataset = place.dataset or (config.dataset_of(place.experiment) if place.experiment in judge.experiments else None)
    _say("what", place.what + (f", data set {dataset}" if dataset and dataset != place.dataset else ""))
    _say("made by", f"stage {place.stage} ({', '.join(STAGES[place.stage])}); `snakemake {place.target}`")
    text = None if place.stage in UNSIGNED else stored(place)
    if text is not None:
        _say_fingerprint(text)
    if place.stage == "train":
        _say_provenance(paths.model(str(place.experiment)) / paths.provenance(str(place.experiment)).name)
    inputs = judge.inputs(place)
    _say("made from", *(f"{path} ({judge.state(path)})" for path in inputs), *judge.raw_inputs(place))
    if reasons:
        _say("current", "no:", *(f"- {reason}" for reason in reasons))
    elif text is None and not inputs:
        _say("current", "not known: this stage keeps no fingerprint, and it is made from raw files alone")
    elif text is None:
        _say("current", "yes, as far as what it is made from tells: this stage keeps no fingerprint of its own")
    else:
        _say("current", "yes: today's configuration, code and inputs would make the same")


def _below_results(given: Path) -> Path:
    """Spell a path as the pipeline does, without following links."""
    path = Path(os.path.normpath(Path.cwd() / given))
    top = Path.cwd() / paths.RESULTS
    if not path.is_relative_to(top) or path == top:
        found, expected = "not a path below it", f"a file or folder below {paths.RESULTS}/"
        remedy = "go to the folder that holds results/, and name something in it"
        raise PipelineError(Problem(str(given), found, expected, remedy))
    return paths.RESULTS / path.relative_to(top)


class _Judge:
    """Compares results with what the configuration and the code of today would make."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.averaged = config.seeded()
        self._baselines = config.baselines()
        self._ensembles = config.ensembles()
        self.experiments = {*config.experiments, *self._ensembles, *self._baselines}
        self._several = [name for name in (*config.experiments, *self._ensembles) if config.multiclass(name)]
        self._raw: dict[str, RawDataset | None] = {}
        self._reasons: dict[Path, list[str]] = {}

    def place(self, path: Path) -> Place:
        return identify(
            path,
            several_classes=self._several,
            averaged=self.averaged,
            baselines=self._baselines,
            ensembles=self._ensembles,
        )

    def state(self, path: Path) -> str:
        if not path.exists():
            return "missing"
        return "not current" if self.reasons(self.place(path)) else "current"

    def raw(self, dataset: str) -> RawDataset | None:
        """List a data set; None where that cannot be done."""
        if dataset not in self._raw:
            try:
                self._raw[dataset] = open_dataset(dataset, **self.config.splits_settings(dataset)["source"])
            except PipelineError:
                self._raw[dataset] = None
        return self._raw[dataset]

    def reasons(self, place: Place, thorough: bool = False) -> list[str]:
        """Say why a result is not what would be made today; nothing where it is.

        Raw files are read again only if `thorough`, and only those of a shard.
        """
        if thorough or place.path not in self._reasons:
            self._reasons[place.path] = self._judge(place, thorough)
        return self._reasons[place.path]

    def _judge(self, place: Place, thorough: bool) -> list[str]:
        if place.dataset is not None and place.dataset not in self.config.datasets:
            return [f"no data set {place.dataset!r} is configured"]
        if place.experiment is not None and place.experiment not in {*self.experiments, *self.averaged}:
            return [f"no experiment {place.experiment!r} is configured"]
        said: list[str] = []
        if place.stage not in UNSIGNED:
            text = stored(place)
            try:
                said += differences(Fingerprint.from_json(text or ""), fingerprint(self._plan(place)))
            except ValueError:
                said.append("it does not say what made it" if text is None else "its fingerprint is damaged")
        if place.stage == "shard" and thorough:
            said += self._sources(place)
        if place.stage == "folds" and thorough:
            said += self._moved(place)
        if place.stage == "train":
            said += _other_shards(str(place.experiment))
        inputs = self.inputs(place)
        there = [path for path in inputs if path.exists()]
        made = _written(place.signed)
        for words, paths_so in (
            ("missing: ", [path for path in inputs if path not in there]),
            ("not current itself: ", [path for path in there if self.reasons(self.place(path))]),
            ("written later: ", [path for path in there if _written(path) > made]),
        ):
            if paths_so:
                said.append(words + some(map(str, paths_so)))
        return said

    def _plan(self, place: Place) -> dict[str, Any]:
        """Return what a result is to be made by."""
        config, name, split = self.config, str(place.experiment), str(place.split)
        match place.stage:
            case "shard":
                return plans.shards(config, str(place.dataset), split)
            case "train":
                return plans.checkpoint(config, name)
            case "folds":
                return plans.folds(config, str(place.dataset), int(place.number or 0))
            case "predict" | "ensemble" | "baseline":
                return plans.prediction(config, name, split, str(place.kind))
            case "threshold":
                return plans.threshold(config, name)
            case "render" | "render_classes":
                settings = {"split": split, **config.render_settings(name, split)}
                return {
                    "stage": place.stage,
                    "settings": settings,
                    "made_from": plans.scoring_parts(config, name, [split]),
                }
            case _:
                parts = plans.scoring_parts(config, name, self._scored(name))
                return {"stage": place.stage, "settings": config.evaluate_settings(name), "made_from": parts}

    def _scored(self, experiment: str) -> list[str]:
        """Return the splits that are scored."""
        raw = self.raw(self.config.dataset_of(experiment))
        splits = {split: raw.splits[split] if raw else [] for split in SPLITS}
        validated = self.config.validated_on(experiment)
        if self.config.folds_of(experiment) is not None:
            splits[validated] = raw.pool if raw else []
        if experiment not in self._baselines:
            return [split for split in (validated, "test") if splits[split]]
        seen = split_name(experiment)[1] != OBSERVER or all(sample.observer for sample in splits["test"])
        return ["test"] if splits["test"] and seen else []

    def inputs(self, place: Place) -> list[Path]:
        """Return the results that a result is made from; raw files are not among them."""
        name, split = str(place.experiment), str(place.split)
        if place.stage == "report":
            checks = [paths.check(name) for name in self.config.datasets]
            trained = [paths.model(name) / "history.csv" for name in self.config.experiments]
            return [*checks, *trained, *self._pictures(), paths.comparisons(), paths.leaderboard()]
        if place.stage in ("leaderboard", "comparisons"):
            scored = [
                *self.config.experiments,
                *(run for run in sorted(self.experiments) if run not in self.config.experiments),
            ]
            if place.stage == "comparisons":
                return [paths.metrics(run) / "per_image.csv" for run in scored if self._has_scores(run)]
            return [paths.metrics(run) / "summary.csv" for run in (*scored, *self.averaged) if self._has_scores(run)]
        if place.stage == "average":
            return [paths.metrics(run) / "summary.csv" for run in self.averaged[name]]
        if name not in self.experiments:
            return []
        kind = "mask" if name in self._several else "probability"
        threshold = [] if name in self._several else [paths.threshold(name)]
        match place.stage:
            case "train":
                return [*self._shards(name, "train"), *self._shards(name, "validation"), *self._folds(name)]
            case "augmented":
                others = self._shards(name, "validation") if self._folds(name) else []
                return [*self._shards(name, "train"), *others, *self._folds(name)]
            case "curves" | "tensorboard":
                return [paths.model(name) / "history.csv"]
            case "predict":
                others = [*self._shards(name, "train"), *self._folds(name)] if split == VALIDATION else []
                shards = [*self._shards(name, split), *(others if self._folds(name) else [])]
                return [paths.model(name) / "best.pt", *shards]
            case "ensemble":
                averaged = VALIDATION if split == OUT_OF_FOLD else split
                folders = [paths.prediction(run, averaged) / "probability" for run in sorted(self._ensembles[name])]
                return [*folders, *(self._folds(min(self._ensembles[name])) if split == OUT_OF_FOLD else [])]
            case "threshold":
                chosen = self.config.threshold_settings(name)["fixed"] is None
                return [paths.prediction(name, self.config.validated_on(name)) / kind] if chosen else []
            case "render" | "render_classes" | "submission":
                return [paths.prediction(name, split) / kind, *threshold]
            case "evaluate" | "evaluate_classes":
                return [*(paths.prediction(name, one) / kind for one in self._scored(name)), *threshold]
        return []

    def _pictures(self) -> list[Path]:
        """Return the folders of test pictures that a page shows or leads to."""
        tested = [paths.prediction(name, "test") for name in sorted(self.experiments)]
        folders = [folder / kind for folder in tested for kind in ("mask", "panel")]
        return [folder for folder in folders if folder.exists()]

    def _has_scores(self, name: str) -> bool:
        return any(map(self._scored, self.averaged.get(name, [name])))

    def _shards(self, experiment: str, split: str) -> list[Path]:
        dataset = self.config.dataset_of(experiment)
        raw = self.raw(dataset)
        return [] if raw is None else [paths.shard(dataset, split, number) for number in raw.shard_members(split)]

    def _folds(self, run: str) -> list[Path]:
        fold = self.config.fold_of(run)
        return [] if fold is None else [paths.folds(self.config.dataset_of(run), fold["folds"])]

    def raw_inputs(self, place: Place) -> list[str]:
        """Say which raw files a result is made from."""
        dataset = place.dataset
        if place.experiment in self.experiments:
            dataset = self.config.dataset_of(place.experiment)
        if dataset not in self.config.datasets or place.stage in _MADE_OF_RESULTS:
            return []
        raw = self.raw(dataset)
        if raw is None:
            return [f"raw files of {dataset}, which cannot be listed now: see `python -m pipeline check`"]
        if place.stage != "shard":
            return [f"raw files under {raw.root}"]
        members = raw.shard_members(str(place.split)).get(int(place.number or 0), [])
        files = {path for sample in members for path in sample.files}
        return [f"{len(files)} raw files of {len(members)} samples under {raw.root}"]

    def _sources(self, place: Place) -> list[str]:
        raw = self.raw(str(place.dataset))
        if raw is None:
            return ["whether its raw files changed is not known: they cannot be listed"]
        members = raw.shard_members(str(place.split)).get(int(place.number or 0), [])
        return changed_sources(place.signed, members) if members else ["no sample stands in it any more"]

    def _moved(self, place: Place) -> list[str]:
        """Compare a table of folds with the raw files of today."""
        raw, folds = self.raw(str(place.dataset)), int(place.number or 0)
        if raw is None:
            return ["whether its samples changed is not known: the raw files cannot be listed"]
        settings = self.config.fold_settings(raw.name, folds)
        source = settings.pop("source")
        now = assign_folds(raw, **settings, cache=source.get("cache"))
        parts = enumerate(read_fold_table(place.signed, folds))
        then = {name: fold for fold, names in parts for name in names}
        moved = {name for name in now.keys() | then.keys() if now.get(name) != then.get(name)}
        return [f"samples that came, went or changed their fold: {some(moved)}"] if moved else []


def _other_shards(experiment: str) -> list[str]:
    """Compare the raw files that an experiment was trained on with those in the shards of today."""
    file = paths.provenance(experiment)
    if not file.exists():
        return []
    trained = provenance.read_provenance(file)["inputs"]
    there = {path: shard_attribute(Path(path), "sources_sha256") for path in trained if Path(path).exists()}
    other = [path for path, digest in there.items() if digest != trained[path]]
    return [f"trained on other raw files than are now in: {some(other)}"] if other else []


def _written(path: Path) -> int:
    """Return when a file, or the last of the files in a folder, was written, in nanoseconds."""
    files = [one for one in path.iterdir() if one.is_file()] if path.is_dir() else []
    return max(one.stat().st_mtime_ns for one in (files or [path]))


# -- printing --------------------------------------------------------------------------------------------------------


def _say(title: str, *lines: str) -> None:
    for number, line in enumerate(lines):
        head = f"  {title if number == 0 else '':12}"
        print(textwrap.fill(line, _WIDTH, initial_indent=head, subsequent_indent=" " * 16, break_on_hyphens=False))


def _say_fingerprint(text: str) -> None:
    try:
        made_by = Fingerprint.from_json(text)
    except ValueError:
        return
    _say("settings", *flat(made_by.settings))
    _say("code", f"{len(made_by.code)} modules: {', '.join(made_by.code)}")
    _say("libraries", _versions(made_by.libraries.items()))
    _say("fingerprint", made_by.digest)


def _say_provenance(file: Path) -> None:
    """Say how a training went; of one without such a file, nothing."""
    if not file.exists():
        return
    said = provenance.read_provenance(file)
    code, machine = said["code"]["pipeline"], said["hardware"]
    gpus = "".join(f", {one['name']}" for one in machine["gpus"])
    _say("trained", f"from {said['started']} to {said['finished']}, {said['python']}")
    _say("on", f"{machine['cpu']}, {machine['threads']} of {machine['logical_cores']} cores{gpus}")
    _say("seeds", ", ".join(f"{purpose} {seed}" for purpose, seed in said["seeds"].items()))
    changed = f", {len(code['changed'])} files changed" if code and code["dirty"] else ""
    _say("commit", f"{code['commit']}{changed}" if code else "not under git")
    names = {name for distributions in LIBRARIES.values() for name in distributions}
    _say("packages", _versions((name, version) for name, version in said["packages"].items() if name in names))


def _versions(versions: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions)
