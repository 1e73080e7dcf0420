"""What a result was made by: settings, package code, library versions, and the results that it was made from.

Two fingerprints are equal where nothing that decides a result differs. They hold no time, machine or commit, so that
the same work leaves the same bytes everywhere.
"""

import hashlib
import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter

from pipeline.core.errors import Problem
from pipeline.core.files import write_text

FILE = "fingerprint.json"
"""In a folder that one stage makes, the fingerprint of all that is in it."""

FORMAT = 2
"""Of fingerprints: results of earlier versions of the pipeline have another one."""

_NAMED = 4  # modules named in a message


class EarlierVersionError(ValueError):
    """A fingerprint that an earlier version of the pipeline wrote."""


@dataclass(frozen=True)
class Fingerprint:
    """What decides a result.

    Parameters
    ----------
    stage : str
        Its name.
    settings : dict
        The stage's slice of the configuration, plain JSON.
    code : dict of str to str
        Module to the digest of its code.
    libraries : dict of str to str
        Imported name to major and minor version.
    made_from : dict of str to Fingerprint
        What it was made from, by its part, such as ``"checkpoint"``. Raw files are not among them.
    """

    stage: str
    settings: dict[str, Any]
    code: dict[str, str]
    libraries: dict[str, str]
    made_from: dict[str, "Fingerprint"] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """64 hexadecimal digits that change with anything that counts."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def brief(self) -> "Fingerprint":
        """Return the same with one digest for all of its code: what is kept of something that was made from."""
        code = {"all modules": short_digest(canonical(self.code))}
        return Fingerprint(self.stage, self.settings, code, self.libraries, self.made_from)

    def to_json(self) -> str:
        """Return the one spelling of it."""
        return canonical({"format": FORMAT, **asdict(self)})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` gave.

        Raises
        ------
        EarlierVersionError
            If an earlier version of the pipeline wrote it.
        ValueError
            If the text says something else.
        """
        plain = json.loads(text)
        if isinstance(plain, dict) and plain.pop("format", None) != FORMAT and "stage" in plain:
            raise EarlierVersionError
        return TypeAdapter(cls).validate_python(plain)


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
    changed = sorted(key for key in found.code.keys() | asked.code.keys() if found.code.get(key) != asked.code.get(key))
    if changed:
        more = f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
        said.append(f"code of {', '.join(changed[:_NAMED])}{more} differs")
    said += _values("", found.libraries, asked.libraries)
    parts: dict[str, list[str]] = {}  # several parts often differ in the same way
    for part in sorted(found.made_from.keys() | asked.made_from.keys()):
        here, there = found.made_from.get(part), asked.made_from.get(part)
        if here is None:
            texts = ["not known what made it"]
        elif there is None:
            texts = ["used here, not asked for"]
        else:
            texts = differences(here, there)
        for text in texts:
            parts.setdefault(text, []).append(part.replace("_", " "))
    return [*said, *(f"{' and '.join(names)}: {text}" for text, names in parts.items())]


def mismatch(where: Path, stored: str | None, asked: Fingerprint) -> Problem | None:
    """Compare what a file or folder says of itself with what was asked for.

    Parameters
    ----------
    where : Path
    stored : str, optional
        Its fingerprint as `Fingerprint.to_json` spelt it; None where it has none.
    asked : Fingerprint

    Returns
    -------
    Problem or None
        With the command that makes it again.
    """
    remedy = f"delete it, and what needs it is made again: `rm -r {shlex.quote(str(where))} && snakemake`"
    if stored is None:
        return Problem(str(where), "no fingerprint", "a result that says what made it", remedy)
    try:
        said = differences(Fingerprint.from_json(stored), asked)
    except EarlierVersionError:
        return earlier_version(where)
    except ValueError:
        return Problem(str(where), "a damaged fingerprint", "a result that says what made it", remedy)
    if not said:
        return None
    return Problem(str(where), "; ".join(said), "a result of the settings and the code that are here", remedy)


def earlier_version(where: Path) -> Problem:
    """Say that an earlier version of the pipeline made a result."""
    found, expected = "a result of an earlier version of the pipeline", "results of this version"
    remedy = "move the folder of results away (`mv results results-old`), and run snakemake again"
    return Problem(str(where), found, expected, remedy)


def sign(fingerprint: str | None, *folders: Path) -> None:
    """Write into folders what all in them is made by, where that is known."""
    for folder in folders:
        if fingerprint is not None:
            write_text(folder / FILE, fingerprint + "\n")


def read_fingerprint(folder: Path) -> str | None:
    """Return the fingerprint that a folder of results holds, or None."""
    try:
        return (folder / FILE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _values(prefix: str, found: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted(found.keys() | asked.keys()):
        here, there = found.get(key), asked.get(key)
        if isinstance(here, Mapping) and isinstance(there, Mapping):
            yield from _values(f"{prefix}{key}.", here, there)
        elif here != there:
            yield f"{prefix}{key} {_shown(here)} here, {_shown(there)} asked for"


def _shown(value: Any) -> str:  # noqa: ANN401 - any setting
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
