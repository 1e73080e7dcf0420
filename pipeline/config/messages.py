"""Convert validation errors of pydantic to problems with the key paths of config.yaml."""

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pipeline.core.errors import Problem

_SELECTORS = ("rule", "name", "method", "layout")  # keys that select the kind of a mapping, and so its other keys
_CORRECT, _CHOOSE = "correct the value", "choose one of them"
_ADD_KEYS, _QUOTE = "add its keys; the schema lists them", "write it in quotes, or correct the value"
_GENERAL_REMEDIES = (_CORRECT, _CHOOSE, _ADD_KEYS, _QUOTE)


def to_problems(error: ValidationError, data: Mapping[str, Any], schema: Mapping[str, Any]) -> list[Problem]:
    """Convert a validation error to problems.

    Parameters
    ----------
    error : ValidationError
    data : mapping
        The validated data; key paths refer to it.
    schema : mapping
        The JSON schema, for suggestions of similar keys.

    Returns
    -------
    list of Problem
        One for each key path.
    """
    keys = _all_keys(schema)
    return _merge_alternatives([_to_problem(detail, data, keys) for detail in error.errors()])


def options_of_other_kinds(
    error: ValidationError, data: Mapping[str, Any], schema: Mapping[str, Any]
) -> list[tuple[str, ...]]:
    """Return the paths of null options that only another kind of rule, network or method has; see `to_problems`."""
    keys = _all_keys(schema)
    unknown = [detail for detail in error.errors() if detail["type"] == "extra_forbidden" and detail["input"] is None]
    paths = (_key_path(detail, data) for detail in unknown)
    return [tuple(path) for path in paths if _is_option_of_other_kind(path, data, keys)]


def _is_option_of_other_kind(path: Sequence[str], data: Mapping[str, Any], keys: Collection[str]) -> bool:
    """Return whether an unknown key is next to a key that selects a kind, and is a known key elsewhere."""
    node: Any = data
    for step in path[:-1]:
        node = node.get(step) if isinstance(node, Mapping) else None
    return path[-1] in keys and isinstance(node, Mapping) and any(key in node for key in _SELECTORS)


def _merge_alternatives(problems: list[Problem]) -> list[Problem]:
    """Merge the problems of all types that one key accepts, such as a name or a mapping, into one problem."""
    merged: dict[str, Problem] = {}
    for problem in sorted(problems, key=lambda problem: len(problem.where)):
        parent = next((path for path in merged if problem.where.startswith(f"{path}.")), problem.where)
        earlier = merged.get(parent)
        if earlier is None:
            merged[problem.where] = problem
        elif parent != problem.where and isinstance(earlier.found, str) and earlier.found.startswith("{"):
            del merged[parent]  # the value is a mapping, so the problem that it is no name or number does not matter
            merged[problem.where] = problem
        # the value is a list: problems of its items belong to another type that the same key accepts
        elif parent == problem.where or (isinstance(earlier.found, str) and earlier.found.startswith(("[", "("))):
            general = earlier.remedy in _GENERAL_REMEDIES and problem.remedy not in _GENERAL_REMEDIES
            remedy = problem.remedy if general else earlier.remedy
            merged[parent] = replace(earlier, expected=f"{earlier.expected}, or {problem.expected}", remedy=remedy)
        else:
            merged[problem.where] = problem
    return list(merged.values())


def _to_problem(detail: ErrorDetails, data: Mapping[str, Any], keys: Collection[str]) -> Problem:
    """Convert one pydantic error to a problem."""
    path = _key_path(detail, data)
    dotted_path = ".".join(path) or "config"
    context = detail.get("ctx", {})
    value = f"{detail['input']!r}"[:120]
    kind = detail["type"]
    if kind == "extra_forbidden":
        key = path[-1]
        remedy = _suggest_key(key, keys)
        if _is_option_of_other_kind(path, data, keys):
            remedy = f"leave the key out; where an earlier file sets it, write `{key}: null`"
        return Problem(dotted_path, f"the unknown key {key!r}", "a known key", remedy)
    if kind == "missing":
        return Problem(dotted_path, "nothing", "this key, which has no default", f"add `{path[-1]}:`")
    if kind in ("literal_error", "union_tag_invalid"):
        allowed = str(context.get("expected") or context.get("expected_tags"))
        return Problem(dotted_path, value, allowed, _suggest_value(str(context.get("tag", detail["input"])), allowed))
    if kind == "union_tag_not_found":
        key = str(context["discriminator"]).strip("'")
        return Problem(f"{dotted_path}.{key}", "nothing", f"the key {key!r}, which selects the kind", f"add `{key}:`")
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return Problem(dotted_path, value, "a mapping, such as {name: ..., ...}", _ADD_KEYS)
    if isinstance(error := context.get("error"), ValueError) and len(error.args) == 2:  # with a remedy of its own
        return Problem(dotted_path, value, *error.args)
    if kind == "string_type" and not isinstance(detail["input"], Mapping | list):
        return Problem(dotted_path, value, "text", _QUOTE)
    if kind == "tuple_type":
        return Problem(dotted_path, value, "a list, such as [a, b]", "write it in brackets")
    expected = detail["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return Problem(dotted_path, value, expected, _CORRECT)


def _key_path(detail: ErrorDetails, data: Mapping[str, Any]) -> list[str]:
    """Return the key path of an error in the file, without the tags of unions that pydantic inserts."""
    path: list[str] = []
    node: Any = data
    steps = detail["loc"]
    for index, step in enumerate(steps):
        following = steps[index + 1] if index + 1 < len(steps) else None
        # {rule: fraction, fraction: 0.2, sed: 1} gives (fraction, sed), where the first is a tag and no key
        is_tag = isinstance(node, Mapping) and following in node and not _contains(node.get(step), following)
        if _contains(node, step) and not is_tag:
            node = node[step]
            path.append(str(step))
        elif following is None and detail["type"] == "missing":
            path.append(str(step))
    return path


def _contains(node: Any, step: Any) -> bool:  # noqa: ANN401 - walks plain data
    if isinstance(node, Mapping):
        return step in node
    return isinstance(node, list | tuple) and isinstance(step, int) and step < len(node)


def _all_keys(schema: Mapping[str, Any]) -> set[str]:
    """Collect all property names of a JSON schema."""
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


def _suggest_key(key: str, keys: Collection[str]) -> str:
    close = difflib.get_close_matches(key, sorted({*keys} - {key}), n=1)
    return f"did you mean `{close[0]}`? Else remove it" if close else "remove it; the schema lists the known keys"


def _suggest_value(value: str, allowed: str) -> str:
    close = difflib.get_close_matches(value, re.findall(r"'([^']+)'", allowed), n=1)
    return f"did you mean {close[0]!r}?" if close else _CHOOSE
