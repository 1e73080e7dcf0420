"""The fingerprint of a result: settings, package code, library versions, raw files and input results.

Two fingerprints are equal if everything that affects the result is equal. They contain no time, machine or commit, so
that results are reproducible byte for byte.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

from pipeline.core.errors import join_first


@dataclass(frozen=True)
class Fingerprint:
    """Everything that affects a result.

    Parameters
    ----------
    stage : str
        Name of the stage.
    settings : dict
        Recipe of the stage and the fields that select one of its results; plain JSON.
    code : dict of str to str
        Module to the digest of its code.
    libraries : dict of str to str
        Imported package to major and minor version.
    raw : dict of str to str
        Digests of the raw data used: see `pipeline.graph.base.Artifact.raw_digests`.
    made_from : dict of str to list of str
        Identities of the input results, by kind of input, such as ``"checkpoint"``.
    """

    stage: str
    settings: Mapping[str, Any]
    code: Mapping[str, str]
    libraries: Mapping[str, str]
    raw: Mapping[str, str] = field(default_factory=dict)
    made_from: Mapping[str, list[str]] = field(default_factory=dict)

    @cached_property
    def identity(self) -> str:
        """Digest of the fingerprint, and so of those of all inputs; 32 hexadecimal digits."""
        plain = {
            item.name: getattr(self, item.name) for item in fields(self)
        }  # `asdict` would copy each list of inputs
        return hashlib.sha256(canonical(plain).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def canonical(value: Any) -> str:  # noqa: ANN401 - any plain data
    """Return plain data as canonical JSON: sorted keys, no blanks, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def short_digest(text: str) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of a string."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def differences(recorded: Fingerprint, expected: Fingerprint, change: str = "{} is {}, expected {}") -> list[str]:
    """Describe the differences between a recorded and an expected fingerprint; an empty list if they are equal.

    `change` is formatted with the name of a setting or library, its recorded and its expected value.
    """
    if recorded.stage != expected.stage:
        return [f"made by stage {recorded.stage}, expected {expected.stage}"]
    descriptions = [*_setting_differences(change, "", recorded.settings, expected.settings)]
    changed_modules = _differing_keys(recorded.code, expected.code)
    if changed_modules:
        descriptions.append(f"code of {join_first(changed_modules, 4)} differs")
    descriptions += _setting_differences(change, "", recorded.libraries, expected.libraries)
    descriptions += [f"{name} changed" for name in _differing_keys(recorded.raw, expected.raw)]
    inputs = [name.replace("_", " ") for name in _differing_keys(recorded.made_from, expected.made_from)]
    different = [f"different {name}" if name.endswith("s") else f"a different {name}" for name in inputs]
    return [*descriptions, *([f"made from {' and '.join(different)}"] if different else [])]


def _differing_keys(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    return sorted(key for key in first.keys() | second.keys() if first.get(key) != second.get(key))


def _setting_differences(
    change: str, prefix: str, recorded: Mapping[str, Any], expected: Mapping[str, Any]
) -> Iterator[str]:
    """Describe each value that differs, with dots between nested keys."""
    for key in _differing_keys(recorded, expected):
        old, new = recorded.get(key), expected.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _setting_differences(change, f"{prefix}{key}.", old, new)
        else:
            yield change.format(f"{prefix}{key}", _format_setting(old), _format_setting(new))


def _format_setting(value: Any) -> str:  # noqa: ANN401 - any setting
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
