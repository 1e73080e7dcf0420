"""The manifest beside a result: what the result was made by, and the digests of its own bytes.

The manifest of ``best.pt`` is ``best.pt.manifest.json``; it speaks of all files and folders that the same job made. A
result without one, or with one of other bytes, is used by nothing.
"""

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter

from pipeline.core.digests import contents_digest
from pipeline.core.errors import Problem
from pipeline.core.files import write_text
from pipeline.core.fingerprint import Fingerprint

MANIFEST_SUFFIX = ".manifest.json"

FORMAT = 1

TABLES = (".csv", ".json")
"""Endings of results that people edit."""


@dataclass(frozen=True)
class Manifest:
    """What a result says of itself.

    Parameters
    ----------
    fingerprint : Fingerprint
    contents : dict of str to str
        Name of each of its files and folders to the SHA-256 of its bytes; see `pipeline.core.digests`.
    """

    fingerprint: Fingerprint
    contents: Mapping[str, str]

    @property
    def identity(self) -> str:
        """That of its fingerprint."""
        return self.fingerprint.identity

    @classmethod
    def describe(cls, fingerprint: Fingerprint, outputs: list[Path]) -> Self:
        """Describe files and folders as they are."""
        return cls(fingerprint, {path.name: contents_digest(path) for path in outputs})

    @staticmethod
    def read(path: Path) -> "Manifest":
        """Read what `write` wrote beside a result that is known by `path`.

        Raises
        ------
        OSError, ValueError
        """
        plain = json.loads(manifest_path(path).read_bytes())
        if not isinstance(plain, dict) or plain.pop("format", None) != FORMAT or "identity" not in plain:
            raise ValueError("another format")
        identity = plain.pop("identity")
        manifest = _ADAPTER.validate_python(plain)
        if manifest.identity != identity:
            raise ValueError("a manifest that was edited")
        return manifest

    def write(self, path: Path) -> None:
        """Write it beside a result that is known by `path`."""
        plain = {"format": FORMAT, "identity": self.identity, **asdict(self)}
        write_text(manifest_path(path), json.dumps(plain, indent=2, sort_keys=True) + "\n")
        for other in _known_by(path):  # results of the same names that were here before
            if manifest_path(other) != manifest_path(path) and _read_contents(other) & self.contents.keys():
                manifest_path(other).unlink(missing_ok=True)

    def changed(self, path: Path) -> bool:
        """Tell whether the bytes of one of its files or folders are others than when it was made."""
        return contents_digest(path) != self.contents.get(path.name)


_ADAPTER = TypeAdapter(Manifest)


def manifest_path(path: Path) -> Path:
    """Return the manifest of a result that is known by `path`."""
    # TensorBoard takes every file with this word in its name for one of events
    return path.with_name(path.name.replace("tfevents", "events") + MANIFEST_SUFFIX)


def _known_by(path: Path) -> list[Path]:
    """Return by what the results with manifests beside a path are known."""
    return [Path(str(one).removesuffix(MANIFEST_SUFFIX)) for one in sorted(path.parent.glob(f"*{MANIFEST_SUFFIX}"))]


def _read_contents(path: Path) -> Set[str]:
    try:
        return Manifest.read(path).contents.keys()
    except (OSError, ValueError):
        return set()


def find(path: Path) -> Manifest | None:
    """Return the manifest that speaks of a file or folder; None where none does, or it cannot be read."""
    for known_by in (path, *_known_by(path)):
        try:
            manifest = Manifest.read(known_by)
        except (OSError, ValueError):
            continue
        if path.name in manifest.contents:
            return manifest
    return None


def edited(paths: Iterable[Path]) -> list[Problem]:
    """Name those files that are there and whose bytes are others than when they were made, as far as that is known."""
    made = ((path, find(path)) for path in paths if path.exists())
    return [_changed([path], path) for path, manifest in made if manifest is not None and manifest.changed(path)]


def problem(path: Path, identity: str, config: Sequence[Path] = ()) -> Problem | None:
    """Say why a file or folder is not the result asked for; None where it is.

    Parameters
    ----------
    path : Path
    identity : str
        Of the result that it should be.
    config : sequence of Path
        Configuration files other than config.yaml, for the commands that the remedy names.
    """
    manifest = find(path)
    if manifest is None:
        return Problem(
            str(path), "no manifest", f"a result that says what made it, in *{MANIFEST_SUFFIX} beside it", _delete(path, config)
        )
    if manifest.identity != identity:
        expected = "one that today's settings, code and raw files make"
        explain = shlex.join(["python", "-m", "pipeline", "explain", str(path), *_option("--config", config)])
        why = f"`{explain}` says what differs; {_delete(path, config)}"
        return Problem(str(path), "a result of other settings, code, raw files or inputs", expected, why)
    files = [path]
    if path.suffix in TABLES:  # who reads one of them reads others beside it
        others = (path.with_name(name) for name in manifest.contents if name != path.name)
        files += [one for one in others if one.suffix in TABLES and one.exists()]
    changed = [one for one in files if manifest.changed(one)]
    return _changed(changed, path, config) if changed else None


def _changed(files: list[Path], path: Path, config: Sequence[Path] = ()) -> Problem:
    """Say that files of a result, which is asked for by `path`, were edited."""
    named = ", ".join(map(str, files))
    found = "changed since it was made" if files == [path] else f"{named}: changed since made"
    return Problem(str(path), found, "the bytes that its manifest tells", _delete(path, config))


def _delete(path: Path, config: Sequence[Path]) -> str:
    again = shlex.join(["snakemake", *_option("--configfile", config)])
    return f"delete it, and what needs it is made again: `rm -r {shlex.quote(str(path))} && {again}`"


def _option(flag: str, files: Sequence[Path]) -> list[str]:
    return [flag, *map(str, files)] if files else []
