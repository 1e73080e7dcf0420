"""Compare the results of two runs: equal byte for byte, but for what tells times and machines."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.core.errors import ComparisonError, Problem
from pipeline.core.files import PARTIAL
from pipeline.core.manifest import MANIFEST_SUFFIX
from pipeline.tools.contents import first_difference

_BLOCK = 1 << 20

FOLDERS = ("shards", "models", "predictions", "metrics")
"""Folders of which results have at least one."""

EXCLUDED_FOLDERS = {
    "logs": "logs tell times",
    "benchmarks": "times and memory",
    "report": "the report, a page about the other files",
    "state": "states of trainings that have not ended",
    "cache": "may be deleted, and is made again",
    "store": "kept of earlier settings",
}
"""Folders of results that are not compared, and why."""

EXCLUDED_FILES = {
    "timing.csv": "times",
    "provenance.json": "times and machines",
    "report.html": "the report, a page about the other files",
    "leaderboard.html": "the report, a page about the other files",
}
"""Files that are not compared wherever they stand, and why."""


@dataclass
class Comparison:
    """What two runs have in common and what not; paths are relative to the results.

    Parameters
    ----------
    equal : list of str
        Files with the same bytes.
    equal_contents : list of str
        Files whose bytes differ while everything that can be read from them is equal, to the bit.
    differences : list of (str, str)
        Each other file, and where it first differs.
    left_out : dict of str to Counter
        Reason to how many files were not compared for it, by the folders or names that tell them.
    """

    equal: list[str] = field(default_factory=list)
    equal_contents: list[str] = field(default_factory=list)
    differences: list[tuple[str, str]] = field(default_factory=list)
    left_out: dict[str, Counter[str]] = field(default_factory=dict)


def compare_runs(first: Path, second: Path, *, values_only: bool = False) -> Comparison:
    """Compare two folders of results, file by file.

    Checkpoints, and all else with tensors, tables or pixels, are opened where bytes differ: to say what differs, and
    to tell files of other bytes and the same contents.

    Parameters
    ----------
    first, second : Path
        Folders ``results``.
    values_only : bool
        Compare tensors, pixels and tables, and leave out what says how they were made: for results of the same settings
        by other code.

    Raises
    ------
    ComparisonError
        If one of them holds no results, or they are the same folder, or a file in one cannot be read.
    """
    _require_results(first, second)
    result = Comparison()
    files = [dict(_walk(folder)) for folder in (first, second)]
    for name in sorted({*files[0], *files[1]}):
        place, reason = _left_out(name, values_only)
        if reason:
            result.left_out.setdefault(reason, Counter())[place] += 1
        elif name not in files[1]:
            result.differences.append((name, f"only in {first}"))
        elif name not in files[0]:
            result.differences.append((name, f"only in {second}"))
        else:
            _compare_files(name, files[0][name], files[1][name], result, values_only)
    return result


def as_text(result: Comparison, first: Path, second: Path) -> str:
    """Say in words what was compared, what was left out, and the first difference."""
    compared = [*result.equal, *result.equal_contents, *(name for name, _ in result.differences)]
    rooms = Counter(Path(name).parts[0] for name in compared)
    lines = [
        f"compared {len(compared)} files: " + ", ".join(f"{room} {count}" for room, count in sorted(rooms.items())),
        f"left out {sum(places.total() for places in result.left_out.values())} files:",
    ]
    for reason, places in sorted(result.left_out.items()):
        lines.append(f"  {', '.join(f'{place} ({count})' for place, count in sorted(places.items()))}: {reason}")
    if same := result.equal_contents:
        lines.append(f"{len(same)} {'file has' if len(same) == 1 else 'files have'} other bytes and equal contents:")
        lines += [f"  {name}" for name in same]
    if not result.differences:
        return "\n".join([*lines, f"no difference between {first} and {second}"])
    (name, words), *more = result.differences
    lines.append(f"the first difference is in {name}: {words}")
    if more:
        lines.append(f"{len(more)} more {'file differs' if len(more) == 1 else 'files differ'}:")
        lines += [f"  {name}" for name, _ in more[:20]]
        lines += [f"  and {len(more) - 20} more"] * (len(more) > 20)
    return "\n".join(lines)


def _require_results(first: Path, second: Path) -> None:
    problems = []
    for folder in (first, second):
        inside = folder / "results"
        remedy = f"name {inside}" if inside.is_dir() else "name the folder `results` of a run"
        if not folder.is_dir():
            found = "a file" if folder.exists() else "no such folder"
            problems.append(Problem(str(folder), found, "a folder of results", remedy))
        elif not any((folder / room).is_dir() for room in FOLDERS):
            expected = f"at least one of the folders {', '.join(FOLDERS)}"
            problems.append(Problem(str(folder), "none of the folders that results have", expected, remedy))
    if not problems and first.resolve() == second.resolve():
        problems.append(
            Problem(f"{first} and {second}", "the same folder twice", "the results of two runs", "name two folders")
        )
    if problems:
        raise ComparisonError(problems)


def _walk(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield each file below `folder` and its name; links are followed, because cached outputs are links."""
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True, onerror=_cannot_read):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        for name in names:
            path = Path(place, name)
            yield path.relative_to(folder).as_posix(), path


def _left_out(name: str, values_only: bool) -> tuple[str, str]:
    """Return the folder or name by which a file is not compared, and why; no reason where it is compared."""
    parts = Path(name).parts
    first, last = parts[0], parts[-1]
    if any(PARTIAL.match(part) for part in parts):
        return ".*.partial-*", "not finished, or half removed"
    if first in EXCLUDED_FOLDERS and len(parts) > 1:
        return f"{first}/", EXCLUDED_FOLDERS[first]
    if last.endswith(MANIFEST_SUFFIX) and values_only:
        return f"*{MANIFEST_SUFFIX}", "what says how results were made"
    return last, EXCLUDED_FILES.get(last, "")


def _compare_files(name: str, first: Path, second: Path, result: Comparison, values_only: bool) -> None:
    try:
        with first.open("rb") as one, second.open("rb") as other:
            while (block := one.read(_BLOCK)) == other.read(_BLOCK):
                if not block:
                    result.equal.append(name)
                    return
        words = first_difference(first, second, values_only)
    except OSError as error:
        _cannot_read(error)
    if words is None:
        # a manifest also has digests of what tells times; other files that it speaks of are compared themselves
        (result.equal if name.endswith(MANIFEST_SUFFIX) else result.equal_contents).append(name)
    else:
        result.differences.append((name, words))


def _cannot_read(error: OSError) -> None:
    raise ComparisonError(
        str(error.filename or "a file"),
        error.strerror or str(error),
        "a file that can be read",
        "check its rights and the disk; a run that still goes on has to end first",
    ) from error
