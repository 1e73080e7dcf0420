"""What a result was made by: settings, package code, library versions, raw files, and the results it was made from.

Two fingerprints are equal where nothing that decides a result differs. They hold no time, machine or commit, so that
the same work leaves the same bytes everywhere.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class Fingerprint:
    """What decides a result.

    Parameters
    ----------
    stage : str
        Its name.
    settings : dict
        The stage's slice of the configuration, and which result of the stage it is; plain JSON.
    code : dict of str to str
        Module to the digest of its code.
    libraries : dict of str to str
        Imported name to major and minor version.
    raw : dict of str to str
        Digests of the raw data that it was made from: see `pipeline.graph.base.Artifact.raw_digests`.
    made_from : dict of str to list of str
        The identities of the results that it was made from, by part, such as ``"checkpoint"``.
    """

    stage: str
    settings: Mapping[str, Any]
    code: Mapping[str, str]
    libraries: Mapping[str, str]
    raw: Mapping[str, str] = field(default_factory=dict)
    made_from: Mapping[str, list[str]] = field(default_factory=dict)

    @cached_property
    def identity(self) -> str:
        """32 hexadecimal digits that change with anything that counts, also with what counts for the inputs."""
        return hashlib.sha256(canonical(asdict(self)).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def canonical(value: Any) -> str:  # noqa: ANN401 - any plain data
    """Return the one JSON text of plain data: sorted keys, no blanks, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def short_digest(text: str) -> str:
    """Return 16 hexadecimal digits that change with a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def differences(found: Fingerprint, asked: Fingerprint) -> list[str]:
    """Say in words what differs between the fingerprint that is here and the one asked for; nothing where equal."""
    if found.stage != asked.stage:
        return [f"made by stage {found.stage} here, {asked.stage} asked for"]
    said = [*_values("", found.settings, asked.settings)]
    changed = _differing(found.code, asked.code)
    if changed:
        said.append(f"code of {join_first(changed, 4)} differs")
    said += _values("", found.libraries, asked.libraries)
    said += [f"{what} changed" for what in _differing(found.raw, asked.raw)]
    parts = [part.replace("_", " ") for part in _differing(found.made_from, asked.made_from)]
    return [*said, *([f"made from other {' and '.join(parts)}"] if parts else [])]


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    return sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))


def _values(prefix: str, found: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterator[str]:
    for key in _differing(found, asked):
        here, there = found.get(key), asked.get(key)
        if isinstance(here, Mapping) and isinstance(there, Mapping):
            yield from _values(f"{prefix}{key}.", here, there)
        else:
            yield f"{prefix}{key} {_shown(here)} here, {_shown(there)} asked for"


def _shown(value: Any) -> str:  # noqa: ANN401 - any setting
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def join_first(names: Iterable[str], most: int = 5) -> str:
    """Join the first few of some names, and count the rest."""
    listed = sorted(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return f"{', '.join(listed[:most])}{more}"
