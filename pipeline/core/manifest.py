"""The manifest beside a result: its fingerprint and the digests of its bytes.

The manifest of ``best.pt`` is ``best.pt.manifest.json``; it lists all files and folders that the same job made. A
result without a manifest, or with bytes that differ from it, is refused as input.
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
from pipeline.core.files import read_json, visible_paths, write_text
from pipeline.core.fingerprint import Fingerprint

MANIFEST_SUFFIX = ".manifest.json"

FORMAT = 1

_LEVELS = 2  # of folders in a result: probability/CLASS/

TABLES = (".csv", ".json")
"""Suffixes of results that people edit."""


@dataclass(frozen=True)
class Manifest:
    """The fingerprint and content digests of a result.

    Parameters
    ----------
    fingerprint : Fingerprint
    contents : dict of str to str
        Name of each file and folder of the result to the SHA-256 of its bytes; see `pipeline.core.digests`.
    """

    fingerprint: Fingerprint
    contents: Mapping[str, str]

    @property
    def identity(self) -> str:
        """The identity of the fingerprint."""
        return self.fingerprint.identity

    @classmethod
    def describe(cls, fingerprint: Fingerprint, outputs: list[Path]) -> Self:
        """Return the manifest of files and folders with their current contents."""
        return cls(fingerprint, {path.name: contents_digest(path) for path in outputs})

    @staticmethod
    def read(path: Path) -> "Manifest":
        """Read the manifest that `write` wrote for `path`.

        Raises
        ------
        OSError, ValueError
        """
        plain = read_json(manifest_path(path))
        if not isinstance(plain, dict) or plain.pop("format", None) != FORMAT or "identity" not in plain:
            raise ValueError("not a manifest of this version")
        identity = plain.pop("identity")
        manifest = _ADAPTER.validate_python(plain)
        if manifest.identity != identity:
            raise ValueError("the manifest was edited")
        return manifest

    def write(self, path: Path) -> None:
        """Write the manifest beside `path`, the first file or folder of the result; remove manifests it supersedes."""
        plain = {"format": FORMAT, "identity": self.identity, **asdict(self)}
        write_text(manifest_path(path), json.dumps(plain, indent=2, sort_keys=True) + "\n")
        for other in _primary_paths(path):  # previous results with files of the same names
            if manifest_path(other) != manifest_path(path) and _read_contents(other) & self.contents.keys():
                manifest_path(other).unlink(missing_ok=True)

    def is_edited(self, path: Path) -> bool:
        """Return whether the bytes of a file or folder of the result differ from those in the manifest."""
        return contents_digest(path) != self.contents.get(path.name)


_ADAPTER = TypeAdapter(Manifest)


def manifest_path(path: Path) -> Path:
    """Return the path of the manifest of a result, given its first file or folder."""
    # TensorBoard reads every file with "tfevents" in its name as an event file
    return path.with_name(path.name.replace("tfevents", "events") + MANIFEST_SUFFIX)


def _primary_paths(path: Path) -> list[Path]:
    """Return, for each manifest in the folder of a path, the file or folder that the manifest is named after."""
    manifests = visible_paths(path.parent, f"*{MANIFEST_SUFFIX}")
    return [Path(str(manifest).removesuffix(MANIFEST_SUFFIX)) for manifest in manifests]


def _read_contents(path: Path) -> Set[str]:
    try:
        return Manifest.read(path).contents.keys()
    except (OSError, ValueError):
        return set()


def find(path: Path) -> Manifest | None:
    """Return the manifest that lists a file or folder; None if there is none, or it cannot be read."""
    for primary_path in (path, *_primary_paths(path)):
        try:
            manifest = Manifest.read(primary_path)
        except (OSError, ValueError):
            continue
        if path.name in manifest.contents:
            return manifest
    return None


def remake_remedy(path: Path, otherwise: str, command: str = "snakemake") -> str:
    """Return the remedy for a bad file: delete it and make it again, only if the pipeline wrote it.

    Parameters
    ----------
    path : Path
        A result, or a file in a folder that is one.
    otherwise : str
        The remedy without a manifest: the file may be the only copy of somebody's work.
    command : str
        The command that makes the result.
    """
    for result in (path, *list(path.parents)[:_LEVELS]):
        if result.name and find(result) is not None:
            deletion = f"delete {'it' if result == path else result} and " if result.exists() else ""
            return f"{deletion}run `{command}`"
    return otherwise


def find_edited(paths: Iterable[Path]) -> list[Problem]:
    """Return a problem for each file whose bytes differ from those in its manifest.

    Files without a manifest are skipped.
    """
    manifests = ((path, find(path)) for path in paths if path.exists())
    return [
        _edited_problem([path], path)
        for path, manifest in manifests
        if manifest is not None and manifest.is_edited(path)
    ]


def problem(path: Path, identity: str, config: Sequence[Path] = ()) -> Problem | None:
    """Return the problem with a result that has no manifest, has another identity, or was edited; None without one.

    Parameters
    ----------
    path : Path
    identity : str
        Expected identity.
    config : sequence of Path
        Configuration files other than config.yaml, for the commands in the remedy.
    """
    manifest = find(path)
    if manifest is None:
        expected = f"a result with a manifest, *{MANIFEST_SUFFIX}, beside it"
        remedy = f"move it to another folder in case it is not from this pipeline, then make it: `{_snakemake(config)}`"
        return Problem(str(path), "no manifest", expected, remedy)
    if manifest.identity != identity:
        expected = "a result of the current settings, code, raw files and inputs"
        explain = shlex.join(["python", "-m", "pipeline", "explain", str(path), *_option("--config", config)])
        remedy = f"`{explain}` shows the differences; {_deletion_remedy(path, config)}"
        return Problem(str(path), "a result of other settings, code, raw files or inputs", expected, remedy)
    files = [path]
    if path.suffix in TABLES:  # a reader of one table also reads the other tables of the result
        siblings = (path.with_name(name) for name in manifest.contents if name != path.name)
        files += [sibling for sibling in siblings if sibling.suffix in TABLES and sibling.exists()]
    edited_files = [file for file in files if manifest.is_edited(file)]
    return _edited_problem(edited_files, path, config) if edited_files else None


def _edited_problem(files: list[Path], path: Path, config: Sequence[Path] = ()) -> Problem:
    """Return the problem that files of the result at `path` were edited."""
    names = ", ".join(map(str, files))
    edit = "edited after the pipeline wrote it" if files == [path] else f"edited after the same job wrote them: {names}"
    return Problem(str(path), edit, "the contents as written (SHA-256 in the manifest)", _deletion_remedy(path, config))


def _deletion_remedy(path: Path, config: Sequence[Path]) -> str:
    return f"delete it, then make it again: `rm -r {shlex.quote(str(path))} && {_snakemake(config)}`"


def _snakemake(config: Sequence[Path]) -> str:
    return shlex.join(["snakemake", *_option("--configfile", config)])


def _option(flag: str, files: Sequence[Path]) -> list[str]:
    return [flag, *map(str, files)] if files else []
