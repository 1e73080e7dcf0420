"""Exceptions that report each problem with its location, the value found, the value expected and a remedy."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import overload


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
        return f"{self.where}\n    found:    {self.found}\n    expected: {self.expected}\n    remedy:   {self.remedy}"


class PipelineError(Exception):
    """An error with all problems that caused it, not only the first.

    Parameters
    ----------
    problems : Problem or iterable of Problem
        At least one. A single problem may be given as its four strings, in the order of `Problem`.
    """

    title = "The pipeline cannot continue"

    @overload
    def __init__(self, problems: Problem | Iterable[Problem], /) -> None: ...
    @overload
    def __init__(self, where: str, found: str, expected: str, remedy: str, /) -> None: ...
    def __init__(self, problems: str | Problem | Iterable[Problem], *texts: str) -> None:
        if isinstance(problems, str):
            problems = Problem(problems, *texts)
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        count = len(self.problems)
        heading = f"{self.title} ({count} problem{'s' if count != 1 else ''}):"
        super().__init__("\n".join([heading, *(f"  {problem}" for problem in self.problems)]))


class ConfigError(PipelineError):
    """The configuration is invalid."""

    title = "The configuration is not valid"


class RawDataError(PipelineError):
    """Raw files are missing, unpaired or unreadable, or contain undeclared values."""

    title = "The raw data cannot be used"


class ShardError(PipelineError):
    """A shard is missing, damaged or does not fit the others."""

    title = "The shards cannot be used"


class CheckpointError(PipelineError):
    """A checkpoint is missing, damaged or not from this pipeline."""

    title = "The checkpoint cannot be used"


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
