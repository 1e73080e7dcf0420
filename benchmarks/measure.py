"""Measurements side by side: variants of a case run alternately, round after round, until the time is up."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

HIGHER_IS_BETTER = frozenset({"images/s", "TFLOP/s", "GB/s", "1 = yes"})
"""Units of which more is better; of all others, such as seconds and MB, less is."""


class NotRun(Exception):  # noqa: N818 - no error: the machine lacks something
    """A part, case or variant that cannot run here."""


class Measurement(NamedTuple):
    """One row of the results.

    Parameters
    ----------
    part, case, variant, device, precision : str
    median, low, high : float
        Over the rounds; `low` and `high` are the smallest and the largest value.
    unit : str
    rounds : int
    ratio : float, optional
        How many times as good as the reference variant: the median over the rounds of the ratio within a round.
    share : float, optional
        Fraction of the limit of the machine, by counted operations.
    """

    part: str
    case: str
    variant: str
    device: str
    precision: str
    median: float
    low: float
    high: float
    unit: str
    rounds: int
    ratio: float | None = None
    share: float | None = None


@dataclass
class Deadline:
    """The time until which something must have ended."""

    seconds: float
    clock: Callable[[], float] = time.monotonic
    end: float = field(init=False)

    def __post_init__(self) -> None:
        self.end = self.clock() + self.seconds

    def left(self) -> float:
        """Return the seconds that are left, at least 0."""
        return max(0.0, self.end - self.clock())

    def share(self, weight: float, others: float) -> "Deadline":
        """Return the deadline of the next of several things: its share of the time left, by weight."""
        return Deadline(self.left() * weight / (weight + others), self.clock)


@dataclass
class Variant:
    """One way to do something.

    Parameters
    ----------
    name : str
    measure : callable
        Runs once; returns values by quantity.
    precision : str or callable
        For the table; a callable is asked after the rounds.
    share : callable, optional
        Maps the median of the first quantity to the share of the machine's limit.
    """

    name: str
    measure: Callable[[], Mapping[str, float]]
    precision: str | Callable[[], str] = ""
    share: Callable[[float], float | None] | None = None


@dataclass
class Case:
    """Variants that do the same thing; quantities with the name "" have the name of the case.

    Parameters
    ----------
    name : str
    units : mapping of str to str
        Unit by quantity.
    variants : sequence of Variant
    reference : str, optional
        Variant to which the others are compared; by default the first. "": none, they do different things.
    max_rounds : int, optional
        For what has one result only, or takes minutes.
    deadline : Deadline, optional
        By default that of the part.
    """

    name: str
    units: Mapping[str, str]
    variants: Sequence[Variant]
    reference: str | None = None
    max_rounds: int | None = None
    deadline: "Deadline | None" = None


class Problem(NamedTuple):
    """A failure, or something that was left out."""

    where: str
    reason: str
    failed: bool


def order(variants: Sequence[str], number: int) -> list[str]:
    """Return the order of the variants in a round: each round starts with the next one."""
    first = number % len(variants)
    return [*variants[first:], *variants[:first]]


def run_case(
    part: str, device: str, case: Case, rounds: int, deadline: Deadline, log: Callable[[str], None]
) -> tuple[list[Measurement], list[Problem]]:
    """Measure a case; a variant that fails is left out of the following rounds.

    A round starts only if the time is enough for one as long as the longest so far; the first one always starts.
    """
    where = f"{part}, {case.name}"
    problems: list[Problem] = []
    values: dict[str, list[Mapping[str, float]]] = {variant.name: [] for variant in case.variants}
    by_name = {variant.name: variant for variant in case.variants}
    wanted = min(rounds, case.max_rounds or rounds)
    longest, number = 0.0, 0
    while number < wanted and by_name and (not number or deadline.left() > longest):
        started = deadline.clock()
        for name in order(list(by_name), number):
            try:
                values[name].append(by_name[name].measure())
            except NotRun as reason:
                problems.append(Problem(f"{where}, {name}", str(reason), failed=False))
                del by_name[name]
            except Exception as error:
                problems.append(Problem(f"{where}, {name}", f"{type(error).__name__}: {error}", failed=True))
                del by_name[name]
        longest, number = max(longest, deadline.clock() - started), number + 1
    if by_name and number < wanted:
        log(f"{where}: {number} of {wanted} rounds, the time is up")
    return summarize(part, device, case, {name: values[name] for name in by_name}), problems


def summarize(
    part: str, device: str, case: Case, values: Mapping[str, Sequence[Mapping[str, float]]]
) -> list[Measurement]:
    """Return the rows of a case, from values by variant, round and quantity."""
    rows = []
    reference = case.variants[0].name if case.reference is None else case.reference
    for index, (quantity, unit) in enumerate(case.units.items()):
        for variant in case.variants:
            numbers = [value[quantity] for value in values.get(variant.name, ()) if quantity in value]
            if not numbers:
                continue
            ratio = None
            if variant.name != reference and reference:
                references = [value[quantity] for value in values.get(reference, ()) if quantity in value]
                pairs = [(ours, theirs) for ours, theirs in zip(numbers, references, strict=False) if ours and theirs]
                higher = unit in HIGHER_IS_BETTER
                ratios = [ours / theirs if higher else theirs / ours for ours, theirs in pairs]
                ratio = statistics.median(ratios) if ratios else None
            median = statistics.median(numbers)
            precision = variant.precision if isinstance(variant.precision, str) else variant.precision()
            share = variant.share(median) if variant.share and not index else None
            name = f"{case.name}, {quantity}" if quantity else case.name
            spread = (median, min(numbers), max(numbers))
            rows.append(
                Measurement(part, name, variant.name, device, precision, *spread, unit, len(numbers), ratio, share)
            )
    return rows
