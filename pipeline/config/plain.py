"""Values that no setting has, in plain data of any origin: YAML, JSON, or another workflow."""

import math
from collections.abc import Mapping
from typing import Any

from pipeline.core.errors import Problem

MAX_DEPTH = 32
"""Limit on mappings and lists within each other."""

MAX_VALUES = 100_000
"""Limit on all values, with each alias of YAML counted as what it stands for."""


def not_plain(data: Mapping[str, Any]) -> list[Problem]:
    """List values that no setting has; the further checks rely on their absence.

    If values are too many or too deep, or contain themselves, this is the only problem: the others were not searched.
    """
    problems: list[Problem] = []
    waiting: list[tuple[tuple[str, ...], Any]] = [((), data)]
    values = 0
    while waiting:
        path, value = waiting.pop()
        values += 1
        where = ".".join(path) or "config"
        if values > MAX_VALUES or len(path) > MAX_DEPTH:
            found = f"more than {MAX_VALUES} values, or {MAX_DEPTH} levels of nesting"
            remedy = "correct the brackets, the indentation and the aliases (`*name`)"
            return [
                Problem(where if len(where) < 80 else f"{where[:80]}...", found, "the keys of a configuration", remedy)
            ]
        if isinstance(value, Mapping):
            waiting += [((*path, str(key)), child) for key, child in value.items()]
            if path in (("datasets",), ("experiments",)):
                problems += [_name_that_is_no_text(where, key) for key in value if not isinstance(key, str)]
        elif isinstance(value, list | tuple):
            waiting += [((*path, str(index)), child) for index, child in enumerate(value)]
        elif not isinstance(value, str | int | float | None):
            remedy = f'write it in quotes: "{value}"'
            problems.append(Problem(where, f"{value}, a {type(value).__name__}", "text or a number", remedy))
        elif isinstance(value, float) and not math.isfinite(value):
            problems.append(Problem(where, str(value), "a finite number", "correct it"))
        elif isinstance(value, str) and "\0" in value:
            problems.append(Problem(where, f"{value!r}, with a null character", "text", "remove the character"))
    return sorted(problems)


def _name_that_is_no_text(where: str, name: object) -> Problem:
    return Problem(where, f"the name {name!r}, which is no text", "text", f'write it in quotes, such as "{name}"')
