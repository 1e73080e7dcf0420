"""Find what under ``results/`` no configured data set or experiment needs, and remove it.

Only what the pipeline names is ever looked at: a file or folder that it would not have written there stays. Links are
never followed.
"""

import os
import re
import shutil
import sys
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.core import paths
from pipeline.core.errors import OutputError, PipelineError, Problem
from pipeline.core.files import PARTIAL, is_being_written, is_foreign, output_problem, partial_name
from pipeline.core.manifest import ENDING, beside
from pipeline.graph import targets
from pipeline.graph.artifacts import KINDS, Checkpoint, FoldTable
from pipeline.graph.base import identity_of
from pipeline.graph.current import Judge
from pipeline.graph.recognize import matches, patterns
from pipeline.graph.study import Study

_NAMED = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_CACHES = re.compile(r"(foreground|digests)-[A-Za-z0-9][A-Za-z0-9_-]*\.json")
_OF_DATASETS = ("shards", "folds", "splits", "check", "cache")
_OF_EXPERIMENTS = ("models", "predictions", "metrics", "tensorboard")
_IDENTITY = re.compile(r"[0-9a-f]{32}")
_EMPTY = "no sample stands in it"
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


def survey(study: Study, results: Path = paths.RESULTS) -> Survey:
    """List what no configured data set or experiment needs, in the order of paths; nothing is changed.

    Of a data set that cannot be listed nothing counts as superseded, and a line says so.
    """
    found = Survey()
    unknown = [name for name in study.datasets if not _can_be_listed(study, name)]
    needed = _needed(study, unknown)
    above = {folder for path in needed for folder in path.parents}

    def look(folder: Path) -> None:
        for path in _entries(found, results / folder.relative_to(paths.RESULTS)):
            known = folder / path.name
            if known in needed or not _is_ours(known, path.is_dir()):
                continue
            if known in above and path.is_dir() and not path.is_symlink():
                look(known)
            else:
                found.mark(path, _reason(study, known))

    for room in (*_OF_DATASETS, *_OF_EXPERIMENTS):
        look(paths.RESULTS / room)
    if not unknown:
        _store(found, study, results)
    _states(found, study, results)
    _of_rules(found, study, results)
    gone = {one.path for one in found.unneeded}
    for path in _partial(results):
        if not gone & {path, *path.parents} and not is_being_written(path):
            with suppress(FileNotFoundError):  # it got its final name in between
                found.mark(path, "left behind by a job that was killed" + " or runs elsewhere" * is_foreign(path))
    found.unneeded.sort(key=lambda one: one.path)
    return found


def _needed(study: Study, unknown: Collection[str]) -> set[Path]:
    """Return the files and folders that the configuration leads to; what cannot be listed needs its whole folders."""
    datasets = study.datasets
    made = targets.everything(study, [name for name in datasets if name not in unknown])
    needed = {path for one in made for path in (*one.outputs().values(), beside(one.path))}
    needed |= {cache(name) for name in datasets for cache in (paths.shares, paths.digests)}
    needed |= {paths.RESULTS / room / name for name in unknown for room in ("shards", "folds")}
    names = [name for name in study.names if study.dataset_of(name) in unknown]
    return needed | {paths.RESULTS / room / name for name in names for room in _OF_EXPERIMENTS}


def _can_be_listed(study: Study, name: str) -> bool:
    try:
        study.raw(name)
    except PipelineError as error:
        print(f"{name}: its shards and predictions all stay, because its raw files cannot be listed:", file=sys.stderr)
        print(error, file=sys.stderr)
        return False
    return True


def _is_ours(path: Path, is_folder: bool) -> bool:
    """Tell whether the pipeline gives that name to a file or folder, or to a folder of results."""
    if path.parts[1] == "cache":
        return not is_folder and _CACHES.fullmatch(path.name) is not None
    return any(
        (is_folder if len(path.parts) < len(steps) else is_folder == ends_in_folder)
        and len(path.parts) <= len(steps)
        and all(step.fullmatch(part) for step, part in zip(steps, path.parts, strict=False))
        for kind in KINDS
        for steps, ends_in_folder in patterns(kind)
    )


def _reason(study: Study, path: Path) -> str:
    """Say why something that the pipeline made is not needed."""
    _, room, name, *rest = path.parts
    if room in _OF_DATASETS:
        dataset = name if room in ("shards", "folds") else name.partition(".")[0]
        dataset = dataset.partition("-")[2] if room == "cache" else dataset
        made = next(matches(path), None)
        if dataset not in study.datasets:
            return f"no data set {dataset!r}"
        return f"no experiment on {dataset} has {made.folds} folds" if isinstance(made, FoldTable) else _EMPTY
    if name in study.seeded and room == "metrics":
        return f"{name} is the mean of several networks"
    if name not in study.names:
        return f"no experiment {name!r}"
    owner = name if study.folded(name) else study.dataset_of(name)
    return f"{owner} has no {rest[0]} samples" if room == "predictions" and len(rest) == 1 else "not made any more"


def _store(found: Survey, study: Study, results: Path) -> None:
    """Mark what is kept for settings that are not those of today."""
    folder = results / paths.store().name
    entries = {path.name: path for path in _entries(found, folder) if path.is_dir()}
    needed = {identity_of(one, study) for one in targets.everything(study) if one.kept}
    for identity in entries.keys() - needed:
        if _IDENTITY.fullmatch(identity):
            found.mark(entries[identity], "kept of earlier settings, code or raw files")


def outdated(study: Study) -> Survey:
    """List the results, of what is configured, that are not what today's settings, code and raw files make.

    Those of data sets that cannot be listed are left out, and a line says so.
    """
    found, judge = Survey(), Judge(study)
    listed = [name for name in study.datasets if _can_be_listed(study, name)]
    results = targets.everything(study, listed)
    for file in sorted(paths.RESULTS.rglob(f"*{ENDING}")):  # also what nobody needs and somebody asked for
        results += [one for one in matches(file) if one.is_known(study) and study.dataset_of(one.name or "") in listed]
    for one in dict.fromkeys(results):
        there = [path for path in one.outputs().values() if path.exists()]
        if reasons := judge.of_itself(one) if there else []:
            for path in (*there, *filter(Path.exists, (beside(one.path),))):
                found.mark(path, "; ".join(reasons))
    return found


def _states(found: Survey, study: Study, results: Path) -> None:
    """Mark states of trainings that are not configured, or that were given up before the last one ended."""
    for folder in _entries(found, results / "state"):
        if not folder.is_dir() or not _NAMED.fullmatch(folder.name):
            continue
        if folder.name not in study.experiments:
            found.mark(folder, f"no experiment {folder.name!r}")
            continue
        trained = results / Checkpoint(folder.name).path.relative_to(paths.RESULTS)
        for path in _entries(found, folder) if trained.exists() else ():
            if path.is_dir() and _newest(path) < trained.lstat().st_mtime_ns:
                found.mark(path, "a training that was given up before the last one ended")


def _of_rules(found: Survey, study: Study, results: Path) -> None:
    """Mark logs and times of jobs of what is not configured."""
    named = {*study.datasets, *study.names, *study.seeded}
    for room, ending in _BY_RULE.items():
        for rule in _entries(found, results / room):
            for path in _entries(found, rule) if rule.is_dir() else ():
                name = path.name if path.is_dir() else path.name.removesuffix(ending)
                if (path.is_dir() or path.suffix == ending) and _NAMED.fullmatch(name) and name not in named:
                    found.mark(path, f"neither a data set nor an experiment {name!r}")


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
