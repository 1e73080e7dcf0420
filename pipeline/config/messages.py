"""Say what a validation found in the words of the person who wrote the file."""

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pipeline.core.errors import Problem


def explain(error: ValidationError, data: Mapping[str, Any], schema: Mapping[str, Any]) -> list[Problem]:
    """Turn a validation error into problems.

    Parameters
    ----------
    error : ValidationError
    data : mapping
        What was validated: paths are said as they stand in it.
    schema : mapping
        The JSON schema, for keys that may have been meant.

    Returns
    -------
    list of Problem
        One for each place.
    """
    keys = _all_keys(schema)
    return _merge_alternatives([_explain(detail, data, keys) for detail in error.errors()])


def _merge_alternatives(problems: list[Problem]) -> list[Problem]:
    """Join what the alternatives of one key say into one problem."""
    merged: dict[str, Problem] = {}
    for problem in sorted(problems, key=lambda problem: len(problem.where)):
        parent = next((known for known in merged if problem.where.startswith(f"{known}.")), problem.where)
        before = merged.get(parent)
        if before is None:
            merged[problem.where] = problem
        elif parent != problem.where and isinstance(before.found, str) and before.found.startswith("{"):
            del merged[parent]  # whoever wrote a mapping meant the alternative that is one
            merged[problem.where] = problem
        elif parent == problem.where or (isinstance(before.found, str) and before.found.startswith(("[", "("))):
            merged[parent] = replace(before, expected=f"{before.expected}, or {problem.expected}")
        else:
            merged[problem.where] = problem
    return list(merged.values())


def _explain(detail: ErrorDetails, data: Mapping[str, Any], keys: Collection[str]) -> Problem:
    """Say one pydantic error in this project's form."""
    place = _place(detail, data)
    where = ".".join(place) or "config"
    context = detail.get("ctx", {})
    found = f"{detail['input']!r}"[:120]
    kind = detail["type"]
    if kind == "extra_forbidden":
        key = place[-1]
        return Problem(where, f"the unknown key {key!r}", "a known key", _closest(key, keys))
    if kind == "missing":
        return Problem(where, "nothing", "this key, which has no default", f"add `{place[-1]}:`")
    if kind in ("literal_error", "union_tag_invalid"):
        allowed = str(context.get("expected") or context.get("expected_tags"))
        return Problem(where, found, allowed, _nearest(str(context.get("tag", detail["input"])), allowed))
    if kind == "union_tag_not_found":
        key = str(context["discriminator"]).strip("'")
        return Problem(f"{where}.{key}", "nothing", f"the key {key!r}, which says what kind it is", f"add `{key}:`")
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return Problem(where, found, "a mapping, such as {name: ..., ...}", "write its keys; the schema lists them")
    expected = detail["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return Problem(where, found, expected, "correct the value")


def _place(detail: ErrorDetails, data: Mapping[str, Any]) -> list[str]:
    """Return the keys that lead to an error, as they stand in the file; pydantic puts tags in between."""
    place: list[str] = []
    node: Any = data
    steps = detail["loc"]
    for index, step in enumerate(steps):
        following = steps[index + 1] if index + 1 < len(steps) else None
        # {rule: fraction, fraction: 0.2, sed: 1} gives (fraction, sed), where the first is a tag and no key
        tag = isinstance(node, Mapping) and following in node and not _inside(node.get(step), following)
        if _inside(node, step) and not tag:
            node = node[step]
            place.append(str(step))
        elif following is None and detail["type"] == "missing":
            place.append(str(step))
    return place


def _inside(node: Any, step: Any) -> bool:  # noqa: ANN401 - walks plain data
    if isinstance(node, Mapping):
        return step in node
    return isinstance(node, list | tuple) and isinstance(step, int) and step < len(node)


def _all_keys(schema: Mapping[str, Any]) -> set[str]:
    """Collect every key that a JSON schema names."""
    keys: set[str] = set()

    def collect(node: Any) -> None:  # noqa: ANN401 - walks plain JSON
        if isinstance(node, Mapping):
            keys.update(node.get("properties", {}))
            for value in node.values():
                collect(value)
        elif isinstance(node, list):
            for value in node:
                collect(value)

    collect(schema)
    return keys


def _closest(key: str, keys: Collection[str]) -> str:
    close = difflib.get_close_matches(key, sorted({*keys} - {key}), n=1)
    return f"did you mean `{close[0]}`? Else remove it" if close else "remove it; the schema lists what there is"


def _nearest(value: str, allowed: str) -> str:
    close = difflib.get_close_matches(value, re.findall(r"'([^']+)'", allowed), n=1)
    return f"did you mean {close[0]!r}?" if close else "choose one of them"
