"""Find what under ``results/`` no configured data set or experiment needs, and remove it.

Only what the pipeline names is ever looked at: a file or folder that it would not have written there stays. Links are
never followed.
"""

import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.core.errors import OutputError, Problem
from pipeline.core.files import PARTIAL, is_being_written, is_foreign, output_problem, partial_name
from pipeline.raw.splits.names import OUT_OF_FOLD, SPLITS, VALIDATION

_SHARD = re.compile(rf"({'|'.join(SPLITS)})-(0|[1-9]\d*)\..+")
_FOLDS = re.compile(r"[1-9]\d*\.json")
_NAMED = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_BY_EXPERIMENT = ("models", "predictions", "metrics", "state", "tensorboard")
_BY_DATASET = {"splits": (".csv",), "check": (".json", ".html", ".png"), "cache": (".json",)}
_OF_ONE_NETWORK = ("per_image.csv", "intervals.csv", "curve.csv", "confusion.csv", "confusion.png", "fingerprint.json")
_BY_RULE = {"logs": ".log", "benchmarks": ".tsv"}


@dataclass(frozen=True)
class Unneeded:
    """Something that can go: a file, a folder with all that is in it, or a link (itself, not where it leads)."""

    path: Path
    reason: str
    bytes: int


@dataclass
class Survey:
    """What can go, and what was left out of the search, with the reason."""

    unneeded: list[Unneeded] = field(default_factory=list)
    left_alone: list[tuple[Path, str]] = field(default_factory=list)

    def mark(self, path: Path, reason: str) -> None:
        """Take a path as not needed, unless it is a link to a folder."""
        if path.is_symlink() and path.is_dir():
            self.left_alone.append((path, f"a link to the folder {path.readlink()}"))
        else:
            self.unneeded.append(Unneeded(path, reason, size_of(path)))


def survey(
    results: Path,
    *,
    members: Mapping[str, Mapping[str, Collection[int]] | None],
    experiments: Mapping[str, str],
    averaged: Collection[str] = (),
    folds: Mapping[str, Collection[int]] | None = None,
    validated: Mapping[str, str] | None = None,
) -> Survey:
    """List what no configured data set or experiment needs; nothing is changed.

    Parameters
    ----------
    results : Path
        The folder of results.
    members : mapping
        Each configured data set, with the numbers of its shards by split, or None where its raw files cannot be
        listed: nothing of it then counts as superseded.
    experiments : mapping of str to str
        Each configured experiment, run, ensemble and baseline, with its data set.
    averaged : collection of str
        Experiments of several seeds or folds, which have a summary and nothing else.
    folds : mapping of str to collection of int, optional
        Data set to the numbers of folds that experiments ask for.
    validated : mapping of str to str, optional
        Runs and ensembles of folds, each with the split that stands in the place of its data set's validation samples.

    Returns
    -------
    Survey
        In the order of their paths.
    """
    found = Survey()
    named = {*members, *experiments, *averaged}
    _shards(found, results, members)
    _folds(found, results, members, folds or {})
    for room, endings in _BY_DATASET.items():
        for path in _entries(found, results / room):
            name = path.stem.removeprefix("foreground-") if room == "cache" else path.stem
            if path.suffix in endings and not path.is_dir() and _NAMED.fullmatch(name) and name not in members:
                found.mark(path, f"no data set {name!r}")
    for room in _BY_EXPERIMENT:
        needed = {*experiments, *averaged} if room == "metrics" else {*experiments}
        for path in _entries(found, results / room):
            if path.is_dir() and _NAMED.fullmatch(path.name) and path.name not in needed:
                found.mark(path, f"no experiment {path.name!r}")
    for experiment in averaged:
        for path in _entries(found, results / "metrics" / experiment):
            if path.name in _OF_ONE_NETWORK and not path.is_dir():
                found.mark(path, f"{experiment} is the mean of several networks")
    for experiment, dataset in experiments.items():
        splits = members.get(dataset)
        if splits is not None:
            own = (validated or {}).get(experiment)
            predicted = {*splits} if own is None else {*splits, own} - ({VALIDATION} - {own})
            for path in _entries(found, results / "predictions" / experiment):
                if path.is_dir() and path.name in (*SPLITS, OUT_OF_FOLD) and path.name not in predicted:
                    found.mark(path, f"{dataset if own is None else experiment} has no {path.name} samples")
        trained = results / "models" / experiment / "best.pt"
        for path in _entries(found, results / "state" / experiment) if trained.exists() else ():
            if path.is_dir() and _newest(path) < trained.lstat().st_mtime_ns:
                found.mark(path, "a training that was given up before the last one ended")
    for room, ending in _BY_RULE.items():
        for rule in _entries(found, results / room):
            for path in _entries(found, rule) if rule.is_dir() else ():
                name = path.name if path.is_dir() else path.name.removesuffix(ending)
                if (path.is_dir() or path.suffix == ending) and _NAMED.fullmatch(name) and name not in named:
                    found.mark(path, f"neither a data set nor an experiment {name!r}")
    gone = {one.path for one in found.unneeded}
    for path in _partial(results):
        if not gone & {path, *path.parents} and not is_being_written(path):
            with suppress(FileNotFoundError):  # it got its final name in between
                found.mark(path, "left behind by a job that was killed" + " or runs elsewhere" * is_foreign(path))
    found.unneeded.sort(key=lambda one: one.path)
    return found


def _shards(found: Survey, results: Path, members: Mapping[str, Mapping[str, Collection[int]] | None]) -> None:
    """Mark folders of data sets that are gone, and shards that no sample stands in any more."""
    for folder in _entries(found, results / "shards"):
        if not folder.is_dir() or not _NAMED.fullmatch(folder.name):
            continue
        if folder.name not in members:
            found.mark(folder, f"no data set {folder.name!r}")
            continue
        splits = members[folder.name]
        if splits is None:
            continue
        for path in _entries(found, folder):
            shard = _SHARD.fullmatch(path.name)
            if shard and int(shard[2]) not in splits.get(shard[1], ()):
                found.mark(path, "no sample stands in it")


def _folds(found: Survey, results: Path, members: Mapping[str, object], folds: Mapping[str, Collection[int]]) -> None:
    """Mark tables of folds of data sets that are gone, and of numbers of folds that no experiment has."""
    for folder in _entries(found, results / "folds"):
        if not folder.is_dir() or not _NAMED.fullmatch(folder.name):
            continue
        if folder.name not in members:
            found.mark(folder, f"no data set {folder.name!r}")
            continue
        for path in _entries(found, folder):
            if _FOLDS.fullmatch(path.name) and int(path.stem) not in folds.get(folder.name, ()):
                found.mark(path, f"no experiment on {folder.name} has {path.stem} folds")


def _entries(found: Survey, folder: Path) -> list[Path]:
    """List a folder without what is hidden; of a folder that is a link, nothing."""
    if folder.is_symlink():
        if not any(path == folder for path, _ in found.left_alone):
            found.left_alone.append((folder, f"a link to {folder.readlink()}"))
        return []
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _partial(results: Path) -> Iterator[Path]:
    """Find temporary names that never became final ones, at any depth."""
    for folder, folders, files in os.walk(results, followlinks=False):
        for name in (*folders, *files):
            if PARTIAL.match(name):
                yield Path(folder) / name
        folders[:] = [name for name in folders if not PARTIAL.match(name)]


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder; a link counts as itself."""
    total = path.lstat().st_size if path.is_symlink() or not path.is_dir() else 0
    for folder, _, files in os.walk(path, followlinks=False) if not path.is_symlink() else ():
        total += sum((Path(folder) / name).lstat().st_size for name in files)
    return total


def _newest(folder: Path) -> int:
    """Return when a folder or anything in it was last written, in nanoseconds."""
    return max(path.lstat().st_mtime_ns for path in (folder, *folder.rglob("*")))


def remove(results: Path, unneeded: Collection[Unneeded]) -> None:
    """Remove what `survey` found.

    A folder first takes a hidden name, so that a kill in the middle leaves no half of an experiment under its name;
    the next survey finds the rest.

    Raises
    ------
    OutputError
        Listing everything that could not be removed, or no longer lies inside `results`; the rest is removed.
    """
    problems = []
    top = results.resolve()
    for one in unneeded:
        path = one.path
        if path.parent.resolve() != top / path.parent.relative_to(results):
            problems.append(
                Problem(str(path), "a folder above it is a link", f"a path inside {top}", "remove it yourself")
            )
            continue
        try:
            if path.is_symlink() or not path.is_dir():
                path.unlink(missing_ok=True)
            else:
                hidden = path.with_name(partial_name(path.name))
                path.rename(hidden)
                shutil.rmtree(hidden)
        except OSError as error:
            problems += output_problem(path, error).problems
    if problems:
        raise OutputError(problems)
