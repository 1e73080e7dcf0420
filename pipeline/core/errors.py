"""Exceptions that report each problem with its location, the value found, the value expected and a remedy."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import overload

MAX_LISTED = 10
"""How many problems of one kind, or names, a message lists."""

_VARIABLE = re.compile(r"`[^`]*`|'[^']*'|\S*/\S*|\d+")


def printable(text: str, keep: str = "") -> str:
    """Escape control characters and invalid UTF-8, which file names may contain, for terminals and files."""
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable() or character in keep
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


@dataclass(frozen=True, order=True)
class Problem:
    """A problem that a user can fix.

    Parameters
    ----------
    where : str
        A file, or the path of a key in the configuration.
    found, expected : str
        The actual and the expected value or state.
    remedy : str
        How to fix it; a command where one exists.
    kind : str
        Machine-readable kind of a problem that the check of a data set finds.
    sample : str, optional
        Identifier of the affected sample, if there is exactly one.
    """

    where: str
    found: str
    expected: str
    remedy: str
    kind: str = field(default="", compare=False)
    sample: str | None = field(default=None, compare=False)

    def __str__(self) -> str:
        found, expected, remedy = (printable(text, keep="\n\t") for text in (self.found, self.expected, self.remedy))
        return f"{printable(self.where)}\n    found:    {found}\n    expected: {expected}\n    remedy:   {remedy}"

    def group(self) -> tuple[str, ...]:
        """Return texts that are equal for problems of one kind, without names, paths and numbers."""
        return self.kind, _VARIABLE.sub("", self.expected), _VARIABLE.sub("", self.remedy)


def plural(count: int, noun: str) -> str:
    """Return a count with its noun, such as ``1 image`` or ``2 images``."""
    return f"{count} {noun}{'s' if count != 1 else ''}"


def join_first(names: Iterable[str], limit: int = MAX_LISTED) -> str:
    """Join the first names, sorted, and append the number of the remaining ones."""
    ordered = sorted(names)
    more = f" and {len(ordered) - limit} more" if len(ordered) > limit else ""
    return f"{', '.join(ordered[:limit])}{more}"


class PipelineError(Exception):
    """An error with all problems that caused it, not only the first; its message lists the first ten of each kind.

    Parameters
    ----------
    problems : Problem or iterable of Problem
        At least one. A single problem may be given as its four strings, in the order of `Problem`.
    """

    title = "The pipeline cannot continue"
    full_list = ""
    """Where to find the problems that the message does not list."""

    @overload
    def __init__(self, problems: Problem | Iterable[Problem], /) -> None: ...
    @overload
    def __init__(self, where: str, found: str, expected: str, remedy: str, /) -> None: ...
    def __init__(self, problems: str | Problem | Iterable[Problem], *texts: str) -> None:
        if isinstance(problems, str):
            problems = Problem(problems, *texts)
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        heading = f"{self.title} ({plural(len(self.problems), 'problem')}):"
        super().__init__("\n".join([heading, *(f"  {line}" for line in self._lines())]))

    def _lines(self) -> Iterator[str]:
        """Yield the first problems of each kind, and how many more there are."""
        counts, listed = Counter(problem.group() for problem in self.problems), Counter[tuple[str, ...]]()
        for problem in self.problems:
            group = problem.group()
            listed[group] += 1
            if listed[group] <= MAX_LISTED:
                yield str(problem)
            elif listed[group] == counts[group]:
                yield f"... and {counts[group] - MAX_LISTED} more of this kind{self.full_list}: {problem.expected}"


class ConfigError(PipelineError):
    """The configuration is invalid."""

    title = "The configuration is not valid"


class RawDataError(PipelineError):
    """Raw files are missing, unpaired or unreadable, or contain undeclared values."""

    title = "The raw data cannot be used"
    full_list = " (`python -m pipeline check` writes a report with all those of a configured data set)"


class ShardError(PipelineError):
    """A shard is missing, damaged or does not fit the others."""

    title = "The shards cannot be used"


class CheckpointError(PipelineError):
    """A checkpoint is missing, damaged or not from this pipeline."""

    title = "The checkpoint cannot be used"


class BundleError(PipelineError):
    """A bundle is damaged, not of the schema, or differs from the network that it was exported from."""

    title = "The bundle cannot be used"


class TrainingError(PipelineError):
    """Training cannot start or continue."""

    title = "Training stopped"


class InterruptionError(PipelineError):
    """A signal ended a training run; its state is saved.

    Parameters
    ----------
    problems : Problem or iterable of Problem
    status : int
        Exit status of the process: 128 plus the number of the signal, as in shells.
    """

    title = "Training was interrupted"

    def __init__(self, problems: Problem | Iterable[Problem], *, status: int) -> None:
        super().__init__(problems)
        self.status = status


class PredictionError(PipelineError):
    """Predictions are missing or do not belong to the samples."""

    title = "The predictions cannot be used"


class OriginError(PipelineError):
    """Results were edited, or made with other settings, code or data than the current ones."""

    title = "These results were edited or are out of date"


class OutputError(PipelineError):
    """A file or folder cannot be written."""

    title = "The output cannot be written"


class ComparisonError(PipelineError):
    """Folders to compare contain no results, or cannot be read."""

    title = "The runs cannot be compared"
