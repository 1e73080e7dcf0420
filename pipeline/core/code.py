"""Digests of the code of this package: what an edit changes, and what it does not.

Docstrings, comments, blank lines and positions do not count, nor does `EXCLUDED`. A module that was declared equal to
earlier ones counts as those.
"""

import ast
import importlib.metadata
import importlib.util
import json
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.core.fingerprint import short_digest

PACKAGE = "pipeline"
_FOLDER = Path(__file__).parents[1]

RECORD = "core/equal.json"
"""Below the package: which modules were declared equal to which earlier ones; see `pipeline.tools.equal`."""

PLUMBING = {
    "pipeline.core.code": "tells what was used and decides nothing",
    "pipeline.core.digests": "tells what was used and decides nothing",
    "pipeline.core.errors": "words of messages",
    "pipeline.core.files": "how files reach the disk as a whole; what stands in them others decide",
    "pipeline.core.fingerprint": "tells what was used and decides nothing",
    "pipeline.core.gpus": "which job gets which GPU, and when",
    "pipeline.core.manifest": "tells what was used and decides nothing",
    "pipeline.core.memory": "tells what was used, and what fits: where samples lie changes the speed and nothing else",
    "pipeline.core.parallel": "how many things are done at once; their order stays",
    "pipeline.core.progress": "what is shown while one waits",
    "pipeline.core.signals": "when a process ends",
    "pipeline.training.generations": "how the state of a training stays whole; what stands in it others decide",
}
"""Modules that decide no bytes, each with the reason.

The rule, which a test enforces: such a module imports nothing of `LIBRARIES`, and of this package only what does not
count either. A function that decides bytes belongs elsewhere, such as in `pipeline.core.tables`.
"""

SETTINGS = {
    "pipeline.core.options": "checks settings, whose values count by themselves",
    "pipeline.evaluation.recipes": "settings, whose values count by themselves",
    "pipeline.models.networks": "settings, whose values count, and the module that builds a network counts by itself",
    "pipeline.prediction.recipes": "settings, whose values count by themselves",
    "pipeline.raw.layouts.registry": "the layout that is chosen counts by itself",
    "pipeline.raw.recipes": "settings, whose values count by themselves",
    "pipeline.raw.source": "settings, whose values count by themselves",
    "pipeline.raw.splits.rules": "settings, whose values count by themselves",
    "pipeline.report.recipes": "settings, whose values count by themselves",
    "pipeline.shards.recipes": "settings, whose values count by themselves",
    "pipeline.training.augment.options": "settings, whose values count, and the steps that are chosen count",
    "pipeline.training.recipes": "settings, whose values count by themselves",
}
"""Modules of settings, each with the reason why its code does not count; they import nothing of `LIBRARIES` either."""

EXCLUDED = {**PLUMBING, **SETTINGS}
"""Modules whose code does not count, each with the reason."""

LIBRARIES = {
    "PIL": ("pillow",),
    "cv2": ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python"),
    "h5py": ("h5py",),
    "imagecodecs": ("imagecodecs",),
    "imageio": ("imageio",),
    "numpy": ("numpy",),
    "scipy": ("scipy",),
    "tifffile": ("tifffile",),
    "torch": ("torch",),
}
"""Imported names that decide pixels, weights or numbers, and what their distributions are called.

pandas, matplotlib and the others write or draw what was computed before.
"""

_TYPES_ONLY = ("TYPE_CHECKING", "typing.TYPE_CHECKING")

Equivalents = Mapping[tuple[str, str], Mapping[str, str]]
"""Of modules that were declared equal to earlier ones: (module, digest) to the modules and digests it stands for."""


class Module(NamedTuple):
    """What counts of a module.

    Parameters
    ----------
    digest : str
        16 hexadecimal digits.
    modules : frozenset of str
        The modules of this package that it imports.
    libraries : frozenset of str
        The packages that it imports.
    """

    digest: str
    modules: frozenset[str]
    libraries: frozenset[str]


def code_digests(roots: Iterable[str]) -> dict[str, str]:
    """Digest some modules and what they import, directly or not, from this package.

    Imports inside functions count; those for type checkers do not. Docstrings, comments, blank lines and positions do
    not count, nor does `EXCLUDED`. A module that was declared equal to earlier ones (`RECORD`) counts as those.

    Parameters
    ----------
    roots : iterable of str
        Names of modules.

    Returns
    -------
    dict of str to str
        Module to 16 hexadecimal digits, sorted.
    """
    return resolve_equivalents(source_digests(roots), _declared())


def source_digests(roots: Iterable[str]) -> dict[str, str]:
    """Digest modules as `code_digests` does, whatever was declared equal."""
    return {module: _module(module).digest for module in closure(roots)}


def library_versions(roots: Iterable[str]) -> dict[str, str]:
    """Return versions of those of `LIBRARIES` that some modules, and what they import from this package, import.

    Parameters
    ----------
    roots : iterable of str
        Names of modules; one that is not there any more, as `code_digests` may name it, is left out.

    Returns
    -------
    dict of str to str
        Name to major and minor version: ``{"torch": "2.13"}``.
    """
    there = [module for module in roots if _file(module) is not None]
    used = {name for module in closure(there) for name in _module(module).libraries}
    return {name: _version(name) for name in sorted(used & LIBRARIES.keys())}


def closure(
    roots: Iterable[str],
    read: Callable[[str], Module] | None = None,
    overlooked: Container[str] = EXCLUDED.keys(),
) -> list[str]:
    """Return some modules and what they import, directly or not, from this package, sorted.

    Parameters
    ----------
    roots : iterable of str
    read : callable, optional
        Gives a module by its name; those of this package without it.
    overlooked : container of str
        Modules that are left out, with what only they import.
    """
    read = read or _module
    found: set[str] = set()
    waiting = set(roots)
    while waiting:
        module = waiting.pop()
        if module not in found and module not in overlooked:
            found.add(module)
            waiting |= read(module).modules
    return sorted(found)


def resolve_equivalents(digests: Mapping[str, str], declared: Equivalents) -> dict[str, str]:
    """Put what modules stand for in their place, until nothing stands for anything.

    Parameters
    ----------
    digests : dict of str to str
        Module to digest.
    declared : dict
        See `Equivalents`.

    Returns
    -------
    dict of str to str
        Module to digest, sorted. A module that several stand for, with different digests, has all of them, joined
        by ``+``.
    """
    found: dict[str, set[str]] = {}
    seen: set[tuple[str, str]] = set()
    waiting = list(digests.items())
    while waiting:
        pair = waiting.pop()
        if pair in seen:
            continue
        seen.add(pair)
        if pair in declared:
            waiting += declared[pair].items()
        else:
            found.setdefault(pair[0], set()).add(pair[1])
    return {module: "+".join(sorted(found[module])) for module in sorted(found)}


def read_record(text: str) -> Equivalents:
    """Read what was declared equal, as it stands in `RECORD`."""
    return {
        (module, one["new"]): one["stands_for"]
        for entry in json.loads(text)
        for module, one in entry["modules"].items()
    }


@cache
def _declared() -> Equivalents:
    return read_record((_FOLDER / RECORD).read_text(encoding="utf-8"))


def read_module(source: bytes, is_module: Callable[[str], bool]) -> Module:
    """Read the source of a module.

    Parameters
    ----------
    source : bytes
    is_module : callable
        Tells whether this package has a module of a name: an imported name may stand in one.
    """
    tree = ast.parse(source)
    names = {imported for node in _nodes(tree) for imported in _imports(node)}
    inside = {module for imported in names if (module := _inside(imported, is_module)) is not None}
    libraries = frozenset(imported.partition(".")[0] for imported in names)
    return Module(short_digest(_text(tree)), frozenset(inside), libraries)


@cache
def _module(name: str) -> Module:
    source = _file(name)
    if source is None:
        raise ModuleNotFoundError(f"no module {name}")
    return read_module(source.read_bytes(), lambda module: _file(module) is not None)


@cache
def _file(name: str) -> Path | None:
    """Find the source of a module; of this package without importing anything."""
    first, *rest = name.split(".")
    if first != PACKAGE:
        found = importlib.util.find_spec(name)
        return None if found is None or found.origin is None else Path(found.origin)
    file = _FOLDER.joinpath(*rest).with_suffix(".py") if rest else _FOLDER / "__init__.py"
    return file if file.is_file() else None


def _inside(imported: str, is_module: Callable[[str], bool]) -> str | None:
    """Return the module of this package that an imported name is, or stands in; none for another package's."""
    if imported.partition(".")[0] != PACKAGE:
        return None
    module = imported if is_module(imported) else imported.rpartition(".")[0]
    return module if is_module(module) and module != PACKAGE else None


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
