"""What a result was made by: settings, package code, library versions, and the results that it was made from.

Two fingerprints are equal where nothing that decides a result differs. They hold no time, machine or commit, so that
the same work leaves the same bytes everywhere.
"""

import ast
import hashlib
import importlib.metadata
import importlib.util
import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Self

from pipeline.core.errors import Problem
from pipeline.core.files import write_text

FILE = "fingerprint.json"
"""In a folder that one stage makes, the fingerprint of all that is in it."""

PACKAGE = "pipeline"
_FOLDER = Path(__file__).parents[1]

OVERLOOKED = {
    "pipeline.cli.main": "hands settings on, and they count by themselves",
    "pipeline.config.messages": "words of messages",
    "pipeline.core.errors": "words of messages",
    "pipeline.core.fingerprint": "tells what was used and decides nothing",
    "pipeline.core.memory": "tells what was used, and what fits: where samples lie changes the speed and nothing else",
    "pipeline.models.names": "the network that a name leads to counts by itself",
    "pipeline.core.progress": "what is shown while one waits",
    "pipeline.raw.layouts.registry": "the layout that a name leads to counts by itself",
}
"""Modules whose code does not count, each with the reason."""

LIBRARIES = {
    "PIL": ("pillow",),
    "cv2": ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python"),
    "h5py": ("h5py",),
    "imagecodecs": ("imagecodecs",),
    "numpy": ("numpy",),
    "scipy": ("scipy",),
    "tifffile": ("tifffile",),
    "torch": ("torch",),
}
"""Imported names that decide pixels, weights or numbers, and what their distributions are called.

pandas, matplotlib and the others write or draw what was computed before.
"""

_NAMED = 4  # modules named in a message
_TYPES_ONLY = ("TYPE_CHECKING", "typing.TYPE_CHECKING")


@dataclass(frozen=True)
class Fingerprint:
    """What decides a result.

    Parameters
    ----------
    stage : str
        Its name in `pipeline.graph.stages.STAGES`.
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
        code = {"all modules": _digest(canonical(self.code))}
        return Fingerprint(self.stage, self.settings, code, self.libraries, self.made_from)

    def to_json(self) -> str:
        """Return the one spelling of it."""
        return canonical(self._plain())

    def _plain(self) -> dict[str, Any]:
        made_from = {name: part._plain() for name, part in self.made_from.items()}
        return {
            "stage": self.stage,
            "settings": self.settings,
            "code": self.code,
            "libraries": self.libraries,
            "made_from": made_from,
        }

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` gave.

        Raises
        ------
        ValueError
            If the text says something else.
        """
        return cls._of(json.loads(text))

    @classmethod
    def _of(cls, plain: Any) -> Self:  # noqa: ANN401 - whatever a file holds
        expected = {"stage": str, "settings": dict, "code": dict, "libraries": dict, "made_from": dict}
        if not isinstance(plain, dict) or plain.keys() != expected.keys():
            raise ValueError("no fingerprint")
        if not all(isinstance(plain[key], kind) for key, kind in expected.items()):
            raise ValueError("no fingerprint")
        made_from = {name: cls._of(part) for name, part in plain["made_from"].items()}
        return cls(**{**plain, "made_from": made_from})


def canonical(value: Any) -> str:  # noqa: ANN401 - any plain data
    """Return the one JSON text of plain data: sorted keys, no blanks, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


# -- comparing -------------------------------------------------------------------------------------------------------


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
            parts.setdefault(text, []).append(part)
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
        expected = "a result that says what made it (those of earlier versions do not)"
        return Problem(str(where), "no fingerprint", expected, remedy)
    try:
        said = differences(Fingerprint.from_json(stored), asked)
    except ValueError:
        return Problem(str(where), "a damaged fingerprint", "a result that says what made it", remedy)
    if not said:
        return None
    return Problem(str(where), "; ".join(said), "a result of the settings and the code that are here", remedy)


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


# -- code ------------------------------------------------------------------------------------------------------------


def code_digests(roots: Iterable[str]) -> dict[str, str]:
    """Digest some modules and what they import, directly or not, from this package.

    Imports inside functions count; those for type checkers do not. Docstrings, comments, blank lines and positions do
    not count, nor does `OVERLOOKED`.

    Parameters
    ----------
    roots : iterable of str
        Names of modules.

    Returns
    -------
    dict of str to str
        Module to 16 hexadecimal digits, sorted.
    """
    return {module: _module(module)[0] for module in _closure(roots)}


def library_versions(modules: Iterable[str]) -> dict[str, str]:
    """Return major and minor version of those of `LIBRARIES` that some modules import: ``{"torch": "2.13"}``."""
    used = {name for module in modules for name in _module(module)[2]}
    return {name: _version(name) for name in sorted(used & LIBRARIES.keys())}


def _closure(roots: Iterable[str]) -> list[str]:
    found: set[str] = set()
    waiting = set(roots)
    while waiting:
        module = waiting.pop()
        if module not in found and module not in OVERLOOKED:
            found.add(module)
            waiting |= _module(module)[1]
    return sorted(found)


@cache
def _module(name: str) -> tuple[str, frozenset[str], frozenset[str]]:
    """Return the digest of a module, the modules of this package that it imports, and the libraries."""
    source = _file(name)
    if source is None:
        raise ModuleNotFoundError(f"no module {name}")
    tree = ast.parse(source.read_bytes())
    names = {imported for node in _nodes(tree) for imported in _imports(node)}
    inside = {module for imported in names if (module := _inside(imported)) is not None}
    return _digest(_text(tree)), frozenset(inside), frozenset(imported.partition(".")[0] for imported in names)


@cache
def _file(name: str) -> Path | None:
    """Find the source of a module; of this package without importing anything."""
    first, *rest = name.split(".")
    if first != PACKAGE:
        found = importlib.util.find_spec(name)
        return None if found is None or found.origin is None else Path(found.origin)
    file = _FOLDER.joinpath(*rest).with_suffix(".py") if rest else _FOLDER / "__init__.py"
    return file if file.is_file() else None


def _inside(imported: str) -> str | None:
    """Return the module of this package that an imported name is, or stands in; none for another package's."""
    if imported.partition(".")[0] != PACKAGE:
        return None
    module = imported if _file(imported) is not None else imported.rpartition(".")[0]
    return module if _file(module) is not None and module != PACKAGE else None


def _imports(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def _nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Walk through all that counts."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not _without_effect(child):
            yield from _nodes(child)


def _without_effect(node: ast.AST) -> bool:
    """Tell docstrings, other bare strings, and what only type checkers read."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return isinstance(node, ast.If) and not node.orelse and ast.unparse(node.test) in _TYPES_ONLY


def _text(value: Any) -> str:  # noqa: ANN401 - nodes, lists of them, and constants
    """Spell a syntax tree in the same way under every version of Python: `ast.dump` adds empty fields in later ones."""
    if isinstance(value, ast.AST):
        fields = (f"{name}={_text(part)}" for name, part in ast.iter_fields(value) if part is not None and part != [])
        return f"{type(value).__name__}({','.join(fields)})"
    if isinstance(value, list):
        return f"[{','.join(_text(part) for part in value if not _without_effect(part))}]"
    return repr(value)


@cache
def _version(name: str) -> str:
    for distribution in LIBRARIES[name]:
        try:
            return ".".join(importlib.metadata.version(distribution).split("+")[0].split(".")[:2])
        except importlib.metadata.PackageNotFoundError:
            continue
    return "not installed"
