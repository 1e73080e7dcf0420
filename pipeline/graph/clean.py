"""Find and remove files under ``results/`` that no configured data set or experiment needs.

Only names that the pipeline itself writes are considered; other files and folders stay. Links are never followed.
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
from pipeline.core.manifest import MANIFEST_SUFFIX, manifest_path
from pipeline.graph import targets
from pipeline.graph.artifacts import KINDS, Checkpoint, FoldTable
from pipeline.graph.base import stored_identities
from pipeline.graph.current import OutdatedCheck
from pipeline.graph.recognize import matching_artifacts, patterns
from pipeline.graph.study import Study

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_CACHE = re.compile(r"(foreground|digests)-[A-Za-z0-9][A-Za-z0-9_-]*\.json")
_DATASET_FOLDERS = ("shards", "folds", "splits", "check", "cache")
_EXPERIMENT_FOLDERS = ("models", "predictions", "metrics", "tensorboard")
_IDENTITY = re.compile(r"[0-9a-f]{32}")
_NO_SAMPLES = "it has no samples"
_JOB_SUFFIXES = {"logs": ".log", "benchmarks": ".tsv"}


@dataclass(frozen=True)
class Unneeded:
    """A file, a folder with its contents, or a link (not its target) that can be removed."""

    path: Path
    reason: str
    bytes: int


@dataclass
class Survey:
    """What can be removed, and which folders were skipped, with the reasons."""

    unneeded: list[Unneeded] = field(default_factory=list)
    skipped: list[tuple[Path, str]] = field(default_factory=list)

    def mark(self, path: Path, reason: str) -> None:
        """Add a path as unneeded, unless it is a link to a folder."""
        if path.is_symlink() and path.is_dir():
            self.skipped.append((path, f"a link to the folder {path.readlink()}"))
        else:
            self.unneeded.append(Unneeded(path, reason, size_of(path)))


def find_unneeded(study: Study, results: Path = paths.RESULTS) -> Survey:
    """List the results that no configured data set or experiment needs, sorted by path, without changing anything.

    If the raw files of a data set cannot be listed, all its results are kept, and standard error reports it.
    """
    survey = Survey()
    unlisted = [name for name in study.datasets if not _can_be_listed(study, name)]
    needed = _needed(study, unlisted)
    parents = {folder for path in needed for folder in path.parents}

    def search(folder: Path) -> None:
        for path in _entries(survey, results / folder.relative_to(paths.RESULTS)):
            default_path = folder / path.name
            if default_path in needed or not _is_ours(default_path, path.is_dir()):
                continue
            if default_path in parents and path.is_dir() and not path.is_symlink():
                search(default_path)
            else:
                survey.mark(path, _reason(study, default_path))

    for top_folder in (*_DATASET_FOLDERS, *_EXPERIMENT_FOLDERS):
        search(paths.RESULTS / top_folder)
    if not unlisted:
        _mark_store(survey, study, results)
    _mark_states(survey, study, results)
    _mark_job_files(survey, study, results)
    marked = {entry.path for entry in survey.unneeded}
    for path in _partial(results):
        if not marked & {path, *path.parents} and not is_being_written(path):
            with suppress(FileNotFoundError):  # it got its final name in the meantime
                survey.mark(path, "left by a job that was killed" + " or runs on another machine" * is_foreign(path))
    survey.unneeded.sort(key=lambda entry: entry.path)
    return survey


def _needed(study: Study, unlisted: Collection[str]) -> set[Path]:
    """Return the paths of all configured results; for data sets in `unlisted`, their whole folders."""
    datasets = study.datasets
    results = targets.all_results(study, [name for name in datasets if name not in unlisted])
    needed = {path for result in results for path in (*result.outputs().values(), manifest_path(result.path))}
    needed |= {cache(name) for name in datasets for cache in (paths.foreground_fractions, paths.digests)}
    needed |= {paths.RESULTS / folder / name for name in unlisted for folder in ("shards", "folds")}
    methods = [name for name in study.methods if study.dataset_of(name) in unlisted]
    return needed | {paths.RESULTS / folder / name for name in methods for folder in _EXPERIMENT_FOLDERS}


def _can_be_listed(study: Study, name: str) -> bool:
    try:
        study.raw(name)
    except PipelineError as error:
        print(f"{name}: its shards and predictions are kept, because its raw files cannot be listed:", file=sys.stderr)
        print(error, file=sys.stderr)
        return False
    return True


def _is_ours(path: Path, is_folder: bool) -> bool:
    """Return whether the pipeline writes a file or folder of that name, or a folder of results."""
    if path.parts[1] == "cache":
        return not is_folder and _CACHE.fullmatch(path.name) is not None
    return any(
        (is_folder if len(path.parts) < len(steps) else is_folder == ends_in_folder)
        and len(path.parts) <= len(steps)
        and all(step.fullmatch(part) for step, part in zip(steps, path.parts, strict=False))
        for kind in KINDS
        for steps, ends_in_folder in patterns(kind)
    )


def _reason(study: Study, path: Path) -> str:
    """Return why a path that the pipeline wrote is not needed."""
    _, folder, name, *parts = path.parts
    if folder in _DATASET_FOLDERS:
        dataset = name if folder in ("shards", "folds") else name.partition(".")[0]
        dataset = dataset.partition("-")[2] if folder == "cache" else dataset
        result = next(matching_artifacts(path), None)
        if dataset not in study.datasets:
            return f"no data set {dataset!r}"
        if isinstance(result, FoldTable):
            return f"no experiment on {dataset} has {result.folds} folds"
        return _NO_SAMPLES
    if name in study.runs and folder == "metrics":
        return f"{name} is the mean of several networks"
    if name not in study.methods:
        return f"no experiment {name!r}"
    owner = name if study.uses_folds(name) else study.dataset_of(name)
    if folder == "predictions" and len(parts) == 1:
        return f"{owner} has no {parts[0]} samples"
    return "no longer a result of this experiment"


def _mark_store(survey: Survey, study: Study, results: Path) -> None:
    """Mark entries of the store that do not belong to the current settings."""
    folder = results / paths.store().name
    entries = {path.name: path for path in _entries(survey, folder) if path.is_dir()}
    kept = [result for result in targets.all_results(study) if result.stored]
    needed = {identity for result in kept for identity in stored_identities(result, study)}
    for identity in entries.keys() - needed:
        if _IDENTITY.fullmatch(identity):
            survey.mark(entries[identity], "kept from earlier settings, code or raw files")


def find_outdated(study: Study) -> Survey:
    """List configured results that differ from those that the current settings, code and raw files would make.

    If the raw files of a data set cannot be listed, its results are omitted, and standard error reports it.
    """
    survey, check = Survey(), OutdatedCheck(study)
    listed = [name for name in study.datasets if _can_be_listed(study, name)]
    results = targets.all_results(study, listed)
    for file in sorted(paths.RESULTS.rglob(f"*{MANIFEST_SUFFIX}")):  # also results that no target needs
        matching = [result for result in matching_artifacts(file) if result.is_configured(study)]
        results += [result for result in matching if study.dataset_of(result.name or "") in listed]
    for result in dict.fromkeys(results):
        outputs = [path for path in result.outputs().values() if path.exists()]
        if reasons := check.own_reasons(result) if outputs else []:
            for path in (*outputs, *filter(Path.exists, (manifest_path(result.path),))):
                survey.mark(path, "; ".join(reasons))
    return survey


def _mark_states(survey: Survey, study: Study, results: Path) -> None:
    """Mark states of training runs that are not configured, or were abandoned before the last one ended."""
    for folder in _entries(survey, results / "state"):
        if not folder.is_dir() or not _NAME.fullmatch(folder.name):
            continue
        if folder.name not in study.experiments:
            survey.mark(folder, f"no experiment {folder.name!r}")
            continue
        checkpoint = results / Checkpoint(folder.name).path.relative_to(paths.RESULTS)
        for path in _entries(survey, folder) if checkpoint.exists() else ():
            if path.is_dir() and _newest(path) < checkpoint.lstat().st_mtime_ns:
                survey.mark(path, "a training run that was abandoned before the last one ended")


def _mark_job_files(survey: Survey, study: Study, results: Path) -> None:
    """Mark logs and benchmarks of jobs whose data set or experiment is not configured."""
    configured = {*study.datasets, *study.methods, *study.runs}
    for top_folder, suffix in _JOB_SUFFIXES.items():
        for rule in _entries(survey, results / top_folder):
            for path in _entries(survey, rule) if rule.is_dir() else ():
                name = path.name if path.is_dir() else path.name.removesuffix(suffix)
                if (path.is_dir() or path.suffix == suffix) and _NAME.fullmatch(name) and name not in configured:
                    survey.mark(path, f"no data set or experiment {name!r}")


def _entries(survey: Survey, folder: Path) -> list[Path]:
    """List a folder without hidden entries; empty if it is a link."""
    if folder.is_symlink():
        if not any(path == folder for path, _ in survey.skipped):
            survey.skipped.append((folder, f"a link to {folder.readlink()}"))
        return []
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _partial(results: Path) -> Iterator[Path]:
    """Find leftover temporary files and folders at any depth."""
    for folder, folders, files in os.walk(results, followlinks=False):
        for name in (*folders, *files):
            if PARTIAL.match(name):
                yield Path(folder) / name
        folders[:] = [name for name in folders if not PARTIAL.match(name)]


def size_of(path: Path) -> int:
    """Return the size in bytes of a file, or of all files in a folder; of a link, its own size."""
    total = path.lstat().st_size if path.is_symlink() or not path.is_dir() else 0
    for folder, _, files in os.walk(path, followlinks=False) if not path.is_symlink() else ():
        total += sum((Path(folder) / name).lstat().st_size for name in files)
    return total


def _newest(folder: Path) -> int:
    """Return the latest modification time of a folder and everything in it, in nanoseconds."""
    return max(path.lstat().st_mtime_ns for path in (folder, *folder.rglob("*")))


def remove(results: Path, unneeded: Collection[Unneeded]) -> None:
    """Remove the entries that `find_unneeded` or `find_outdated` listed.

    A folder is renamed to a hidden name first, so that a kill in the middle leaves no incomplete folder under the name
    of an experiment; the next call of `find_unneeded` lists the remainder.

    Raises
    ------
    OutputError
        Listing everything that could not be removed or is no longer inside `results`; all other entries are removed.
    """
    problems = []
    resolved_results = results.resolve()
    for entry in unneeded:
        path = entry.path
        if path.parent.resolve() != resolved_results / path.parent.relative_to(results):
            problems.append(
                Problem(
                    str(path), "a parent folder is a link", f"a path inside {resolved_results}", "remove it yourself"
                )
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
