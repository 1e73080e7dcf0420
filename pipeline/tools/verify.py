"""Compare the results of two runs byte for byte, except for files that contain times and machines."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.core.errors import ComparisonError, Problem, plural
from pipeline.core.files import PARTIAL, exists, is_folder, real_path
from pipeline.core.manifest import MANIFEST_SUFFIX
from pipeline.tools.contents import first_difference

_BLOCK = 1 << 20

FOLDERS = ("shards", "models", "predictions", "metrics")
"""Folders that identify a results folder: at least one of them exists."""

EXCLUDED_FOLDERS = {
    "logs": "logs contain times",
    "benchmarks": "times and memory",
    "report": "the report, made from the other files",
    "state": "states of unfinished training runs",
    "cache": "caches",
    "store": "results of earlier settings",
}
"""Folders of results that are not compared, each with the reason."""

EXCLUDED_FILES = {
    "timing.csv": "times",
    "provenance.json": "times and machines",
    "report.html": "the report, made from the other files",
    "leaderboard.html": "the report, made from the other files",
}
"""Files in any folder that are not compared, each with the reason."""


@dataclass
class Comparison:
    """Comparison of the results of two runs; paths are relative to the results folder.

    Parameters
    ----------
    equal : list of str
        Files with equal bytes.
    equal_contents : list of str
        Files with different bytes but bit-for-bit equal contents.
    differences : list of (str, str)
        Each other file, and its first difference.
    left_out : dict of str to Counter
        Reason to the number of files that were not compared, by folder or file name.
    """

    equal: list[str] = field(default_factory=list)
    equal_contents: list[str] = field(default_factory=list)
    differences: list[tuple[str, str]] = field(default_factory=list)
    left_out: dict[str, Counter[str]] = field(default_factory=dict)


def compare_runs(first: Path, second: Path, *, values_only: bool = False) -> Comparison:
    """Compare two folders of results, file by file.

    The contents of files with different bytes are compared, to describe the first difference and to detect equal
    contents.

    Parameters
    ----------
    first, second : Path
        Folders ``results``.
    values_only : bool
        Compare tensors, pixels and tables, but not manifests and provenance: for results of other code with the same
        settings.

    Raises
    ------
    ComparisonError
        If one folder contains no results, both are the same folder, or a file cannot be read.
    """
    _require_results(first, second)
    result = Comparison()
    files = [dict(_walk(folder)) for folder in (first, second)]
    for name in sorted({*files[0], *files[1]}):
        group, reason = _exclusion(name, values_only)
        if reason:
            result.left_out.setdefault(reason, Counter())[group] += 1
        elif name not in files[1]:
            result.differences.append((name, f"only in {first}"))
        elif name not in files[0]:
            result.differences.append((name, f"only in {second}"))
        else:
            _compare_files(name, files[0][name], files[1][name], result, values_only)
    return result


def as_text(result: Comparison, first: Path, second: Path) -> str:
    """Format a comparison as text: number of compared files, files left out, first difference."""
    compared = [*result.equal, *result.equal_contents, *(name for name, _ in result.differences)]
    folders = Counter(Path(name).parts[0] for name in compared)
    lines = [
        f"compared {plural(len(compared), 'file')}: "
        + ", ".join(f"{name} {count}" for name, count in sorted(folders.items())),
        f"left out {plural(sum(counts.total() for counts in result.left_out.values()), 'file')}:",
    ]
    for reason, counts in sorted(result.left_out.items()):
        lines.append(f"  {', '.join(f'{group} ({count})' for group, count in sorted(counts.items()))}: {reason}")
    if names := result.equal_contents:
        has = "file has" if len(names) == 1 else "files have"
        lines.append(f"{len(names)} {has} different bytes but equal contents:")
        lines += [f"  {name}" for name in names]
    if not result.differences:
        return "\n".join([*lines, f"no difference between {first} and {second}"])
    (name, description), *more = result.differences
    lines.append(f"the first difference is in {name}: {description}")
    if more:
        lines.append(f"{len(more)} more {'file differs' if len(more) == 1 else 'files differ'}:")
        lines += [f"  {name}" for name, _ in more[:20]]
        lines += [f"  and {len(more) - 20} more"] * (len(more) > 20)
    return "\n".join(lines)


def _require_results(first: Path, second: Path) -> None:
    problems = []
    for folder in (first, second):
        results = folder / "results"
        remedy = f"name {results}" if is_folder(results) else "name the folder `results` of a run"
        if not is_folder(folder):
            state = "a file" if exists(folder) else "no such folder"
            problems.append(Problem(str(folder), state, "a folder of results", remedy))
        elif not any(is_folder(folder / name) for name in FOLDERS):
            expected = f"at least one of the folders {', '.join(FOLDERS)}"
            problems.append(Problem(str(folder), "none of the folders of results", expected, remedy))
    if not problems and real_path(first) == real_path(second):
        problems.append(
            Problem(f"{first} and {second}", "the same folder twice", "the results of two runs", "name two folders")
        )
    if problems:
        raise ComparisonError(problems)


def _walk(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield name and path of each file below `folder`; follow links, because outputs from a cache are links."""
    visited = set()
    for parent, subfolders, names in os.walk(folder, followlinks=True, onerror=_cannot_read):
        real_path = os.path.realpath(parent)
        if real_path in visited:
            subfolders.clear()
            continue
        visited.add(real_path)
        for name in names:
            path = Path(parent, name)
            yield path.relative_to(folder).as_posix(), path


def _exclusion(name: str, values_only: bool) -> tuple[str, str]:
    """Return the folder or name by which a file is left out, and the reason; an empty reason if it is compared."""
    parts = Path(name).parts
    first, last = parts[0], parts[-1]
    if any(PARTIAL.match(part) for part in parts):
        return ".*.partial-*", "incomplete, or partly removed"
    if first in EXCLUDED_FOLDERS and len(parts) > 1:
        return f"{first}/", EXCLUDED_FOLDERS[first]
    if last.endswith(MANIFEST_SUFFIX) and values_only:
        return f"*{MANIFEST_SUFFIX}", "descriptions of how results were made"
    return last, EXCLUDED_FILES.get(last, "")


def _compare_files(name: str, first: Path, second: Path, result: Comparison, values_only: bool) -> None:
    try:
        with first.open("rb") as file_a, second.open("rb") as file_b:
            while (block := file_a.read(_BLOCK)) == file_b.read(_BLOCK):
                if not block:
                    result.equal.append(name)
                    return
        difference = first_difference(first, second, values_only)
    except OSError as error:
        _cannot_read(error)
    if difference is None:
        # digests in a manifest may differ, because some of its files contain times; the others are compared themselves
        (result.equal if name.endswith(MANIFEST_SUFFIX) else result.equal_contents).append(name)
    else:
        result.differences.append((name, difference))


def _cannot_read(error: OSError) -> None:
    raise ComparisonError(
        str(error.filename or "a file"),
        error.strerror or str(error),
        "a file that can be read",
        "check its permissions and the disk; if the run is not finished, wait for its end",
    ) from error
