"""One family of errors: each says the place, what was found, what was expected and how to mend it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import overload


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong, in the words of the person who has to mend it.

    Parameters
    ----------
    where : str
        A file, or the path of a key inside the configuration.
    found, expected : str
        What is there, and what should be.
    remedy : str
        What to do about it; a command where one exists.
    kind : str
        A short word for programs, where the check of a data set tells kinds apart.
    sample : str, optional
        Identifier of the one sample that it concerns, where there is one.
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
    """Everything that a person can mend; carries all offenders, not only the first.

    Parameters
    ----------
    problems : Problem or iterable of Problem
        At least one; of a single problem also its four texts, in the order of `Problem`.
    """

    title = "The pipeline cannot go on"

    @overload
    def __init__(self, problems: Problem | Iterable[Problem], /) -> None: ...
    @overload
    def __init__(self, where: str, found: str, expected: str, remedy: str, /) -> None: ...
    def __init__(self, problems: str | Problem | Iterable[Problem], *texts: str) -> None:
        one = Problem(problems, *texts) if isinstance(problems, str) else problems
        self.problems = (one,) if isinstance(one, Problem) else tuple(one)
        count = len(self.problems)
        heading = f"{self.title} ({count} problem{'s' if count != 1 else ''}):"
        super().__init__("\n".join([heading, *(f"  {problem}" for problem in self.problems)]))


class ConfigError(PipelineError):
    """The configuration says something it must not."""

    title = "The configuration is not valid"


class RawDataError(PipelineError):
    """Raw files are missing, unpaired, unreadable or hold values nobody declared."""

    title = "The raw data cannot be used"


class ShardError(PipelineError):
    """A shard is missing, damaged or does not fit the others."""

    title = "The shards cannot be used"


class CheckpointError(PipelineError):
    """A checkpoint is missing, damaged or was made by something else."""

    title = "The checkpoint cannot be used"


class TrainingError(PipelineError):
    """Training cannot start or cannot go on."""

    title = "Training stopped"


class InterruptionError(PipelineError):
    """A signal ended a training; what it did is saved.

    Parameters
    ----------
    problems : Problem or iterable of Problem
    status : int
        Exit status of the process: 128 and the number of the signal, as shells count.
    """

    title = "Training was interrupted"

    def __init__(self, problems: Problem | Iterable[Problem], *, status: int) -> None:
        super().__init__(problems)
        self.status = status


class PredictionError(PipelineError):
    """Predictions are missing or do not belong to the samples."""

    title = "The predictions cannot be used"


class OriginError(PipelineError):
    """Results that something is to be made from were made by something else than is asked for."""

    title = "These results are not those that are asked for"


class OutputError(PipelineError):
    """A file or folder cannot be written."""

    title = "The output cannot be written"


class ComparisonError(PipelineError):
    """Folders that are to be compared hold no results, or cannot be read."""

    title = "The runs cannot be compared"
