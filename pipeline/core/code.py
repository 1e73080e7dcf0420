"""Digests of the code of this package: what an edit changes, and what it does not.

Docstrings, comments, blank lines and positions do not count, nor does `OVERLOOKED`.
"""

import ast
import importlib.metadata
import importlib.util
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.core.fingerprint import short_digest

PACKAGE = "pipeline"
_FOLDER = Path(__file__).parents[1]

OVERLOOKED = {
    "pipeline.core.code": "tells what was used and decides nothing",
    "pipeline.core.digests": "tells what was used and decides nothing",
    "pipeline.core.errors": "words of messages",
    "pipeline.core.fingerprint": "tells what was used and decides nothing",
    "pipeline.core.manifest": "tells what was used and decides nothing",
    "pipeline.core.memory": "tells what was used, and what fits: where samples lie changes the speed and nothing else",
    "pipeline.core.options": "checks settings, whose values count by themselves",
    "pipeline.core.progress": "what is shown while one waits",
    "pipeline.evaluation.recipes": "settings, whose values count by themselves",
    "pipeline.models.networks": "settings, whose values count, and the module that builds a network counts by itself",
    "pipeline.prediction.recipes": "settings, whose values count by themselves",
    "pipeline.raw.layouts.registry": "the layout that is chosen counts by itself",
    "pipeline.raw.recipes": "settings, whose values count by themselves",
    "pipeline.raw.source": "settings, whose values count by themselves",
    "pipeline.raw.splits.methods": "settings, whose values count by themselves",
    "pipeline.report.recipes": "settings, whose values count by themselves",
    "pipeline.shards.recipes": "settings, whose values count by themselves",
    "pipeline.training.augment.options": "settings, whose values count, and the steps that are chosen count",
    "pipeline.training.recipes": "settings, whose values count by themselves",
}
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
    return short_digest(_text(tree)), frozenset(inside), frozenset(imported.partition(".")[0] for imported in names)


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
