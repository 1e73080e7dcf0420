"""Digests of the source code that computes a result.

Docstrings, comments, blank lines and positions do not change a digest. The modules in `EXCLUDED` are left out. A module
that was declared equal to earlier modules has their digests.
"""

import ast
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.core.fingerprint import short_digest

PACKAGE = "pipeline"
_FOLDER = Path(__file__).parents[1]

RECORD = "core/equal.json"
"""File, relative to the package, that lists modules declared equal to earlier ones; see `pipeline.tools.equal`."""

PLUMBING = {
    "pipeline.core.allocator": "where freed memory is kept changes only the speed",
    "pipeline.core.code": "records the code of results",
    "pipeline.core.digests": "records the files of results",
    "pipeline.core.errors": "error messages",
    "pipeline.core.files": "atomic writes; callers compute the contents",
    "pipeline.core.fingerprint": "records how results were made",
    "pipeline.core.gpus": "assigns GPUs to jobs",
    "pipeline.core.manifest": "records how results were made",
    "pipeline.core.memory": "measures memory; whether samples fit into it changes only the speed",
    "pipeline.core.parallel": "number of simultaneous calls; the order of their results is kept",
    "pipeline.core.progress": "progress and log lines",
    "pipeline.core.signals": "handles signals that end a process",
    "pipeline.prediction.memory": "error messages",
    "pipeline.raw.layouts.suggest": "error messages",
    "pipeline.training.generations": "atomic writes of the training state; callers compute the contents",
    "pipeline.training.progress_file": "shown on the terminal; nothing reads it again",
}
"""Modules that cannot affect the content of a result, each with the reason.

A test enforces the rule: such a module imports none of `LIBRARIES`, and of this package only modules in `EXCLUDED`. A
function that affects contents belongs in another module, such as `pipeline.core.tables`.
"""

SETTINGS = {
    "pipeline.bundle.recipes": "fingerprints contain the values",
    "pipeline.core.options": "validates settings; fingerprints contain their values",
    "pipeline.evaluation.recipes": "fingerprints contain the values",
    "pipeline.models.networks": "fingerprints contain the values and the code of the configured network",
    "pipeline.prediction.recipes": "fingerprints contain the values",
    "pipeline.raw.layouts.registry": "fingerprints contain the code of the configured layout",
    "pipeline.raw.decode.options": "fingerprints contain the values",
    "pipeline.raw.recipes": "fingerprints contain the values",
    "pipeline.raw.source": "fingerprints contain the values",
    "pipeline.raw.splits.rules": "fingerprints contain the values",
    "pipeline.report.recipes": "fingerprints contain the values",
    "pipeline.shards.recipes": "fingerprints contain the values",
    "pipeline.training.augment.options": "fingerprints contain the values and the code of the configured steps",
    "pipeline.training.recipes": "fingerprints contain the values",
}
"""Modules of settings, each with the reason why its code has no digest; they import none of `LIBRARIES` either."""

EXCLUDED = {**PLUMBING, **SETTINGS}
"""Modules whose code has no digest, each with the reason."""

LIBRARIES = {
    "PIL": ("pillow",),
    "cv2": ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python"),
    "h5py": ("h5py",),
    "imagecodecs": ("imagecodecs",),
    "imageio": ("imageio",),
    "numpy": ("numpy",),
    "onnx": ("onnx",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "safetensors": ("safetensors",),
    "scipy": ("scipy",),
    "tifffile": ("tifffile",),
    "timm": ("timm",),
    "torch": ("torch",),
}
"""Imported packages that affect pixels, weights or numbers, and the names of their distributions.

pandas, matplotlib and the others only write or plot computed values.
"""

_TYPES_ONLY = ("TYPE_CHECKING", "typing.TYPE_CHECKING")

_PARSED = Path(__file__).parent / "__pycache__" / "parsed.json"
"""Cache of `_parse`, by the digest of the source and of this module; like byte code it may be deleted at any time."""

_MAX_PARSED = 1000  # modules in the cache

_Parsed = tuple[str, list[str]]

Equivalents = Mapping[tuple[str, str], Mapping[str, str]]
"""Modules declared equal to earlier ones: (module, digest) to the earlier modules and their digests."""


class Module(NamedTuple):
    """The digest and imports of a module.

    Parameters
    ----------
    digest : str
        16 hexadecimal digits.
    modules : frozenset of str
        Imported modules of this package.
    libraries : frozenset of str
        Imported top-level packages.
    """

    digest: str
    modules: frozenset[str]
    libraries: frozenset[str]


def code_digests(roots: Iterable[str]) -> dict[str, str]:
    """Return the digests of modules and of everything they import from this package, directly or indirectly.

    Imports inside functions are followed, those for type checkers are not. Docstrings, comments, blank lines and
    positions do not change a digest. The modules in `EXCLUDED` are left out. A module that was declared equal to
    earlier modules (`RECORD`) is replaced by them.

    Parameters
    ----------
    roots : iterable of str
        Names of modules.

    Returns
    -------
    dict of str to str
        Module to 16 hexadecimal digits, sorted.
    """
    return resolve_equivalents(source_digests(roots), _recorded_equivalents())


def source_digests(roots: Iterable[str]) -> dict[str, str]:
    """Return digests of modules as `code_digests` does, but ignore `RECORD`."""
    digests = {module: _module(module).digest for module in transitive_imports(roots)}
    _write_cache()
    return digests


def library_versions(roots: Iterable[str]) -> dict[str, str]:
    """Return the versions of those `LIBRARIES` that modules import, directly or indirectly.

    Parameters
    ----------
    roots : iterable of str
        Names of modules. Modules that no longer exist, which `code_digests` may return, are ignored.

    Returns
    -------
    dict of str to str
        Name to major and minor version: ``{"torch": "2.13"}``.
    """
    existing_roots = [module for module in roots if _file(module) is not None]
    imported = {name for module in transitive_imports(existing_roots) for name in _module(module).libraries}
    return {name: _version(name) for name in sorted(imported & LIBRARIES.keys())}


def transitive_imports(
    roots: Iterable[str],
    read: Callable[[str], Module] | None = None,
    excluded: Container[str] = EXCLUDED.keys(),
) -> list[str]:
    """Return the modules and everything they import from this package, directly or indirectly.

    Parameters
    ----------
    roots : iterable of str
    read : callable, optional
        Returns a module by its name; by default from this package.
    excluded : container of str
        Modules not to follow; they are not returned either.

    Returns
    -------
    list of str
        Names of modules, sorted.
    """
    read = read or _module
    visited: set[str] = set()
    pending = set(roots)
    while pending:
        module = pending.pop()
        if module not in visited and module not in excluded:
            visited.add(module)
            pending |= read(module).modules
    return sorted(visited)


def resolve_equivalents(digests: Mapping[str, str], equivalents: Equivalents) -> dict[str, str]:
    """Replace modules by the earlier ones that they were declared equal to, repeatedly.

    Parameters
    ----------
    digests : dict of str to str
        Module to digest.
    equivalents : dict
        See `Equivalents`.

    Returns
    -------
    dict of str to str
        Module to digest, sorted. A module that replaces several modules under different digests has all digests,
        joined by ``+``.
    """
    resolved: dict[str, set[str]] = {}
    visited: set[tuple[str, str]] = set()
    pending = list(digests.items())
    while pending:
        pair = pending.pop()
        if pair in visited:
            continue
        visited.add(pair)
        if pair in equivalents:
            pending += equivalents[pair].items()
        else:
            resolved.setdefault(pair[0], set()).add(pair[1])
    return {module: "+".join(sorted(resolved[module])) for module in sorted(resolved)}


def read_record(text: str) -> Equivalents:
    """Parse the contents of `RECORD`."""
    return {
        (module, equivalence["new"]): equivalence["stands_for"]
        for entry in json.loads(text)
        for module, equivalence in entry["modules"].items()
    }


@cache
def _recorded_equivalents() -> Equivalents:
    return read_record((_FOLDER / RECORD).read_text(encoding="utf-8"))


def read_module(source: bytes, is_module: Callable[[str], bool]) -> Module:
    """Compute the digest of a module and list its imports.

    Parameters
    ----------
    source : bytes
    is_module : callable
        Returns whether a dotted name is a module of this package, rather than a name defined in one.
    """
    return _as_module(_parse(source), is_module)


def _as_module(parsed: _Parsed, is_module: Callable[[str], bool]) -> Module:
    digest, names = parsed
    modules = {module for imported in names if (module := _package_module(imported, is_module)) is not None}
    libraries = frozenset(imported.partition(".")[0] for imported in names)
    return Module(digest, frozenset(modules), libraries)


def _parse(source: bytes) -> _Parsed:
    """Return the digest of a module and the names that it imports, sorted."""
    tree = ast.parse(source)
    names = {imported for node in _effective_nodes(tree) for imported in _imports(node)}
    return short_digest(_text(tree)), sorted(names)


@cache
def _module(name: str) -> Module:
    source = _file(name)
    if source is None:
        raise ModuleNotFoundError(f"no module {name}")
    contents, cached = source.read_bytes(), _cached()
    key = hashlib.sha256(cached.reader + contents).hexdigest()
    if key not in cached.parsed:
        cached.parsed[key] = cached.added[key] = _parse(contents)
    return _as_module(cached.parsed[key], lambda module: _file(module) is not None)


class _Cache(NamedTuple):
    """The contents of `_PARSED`, those that it lacks, and this module, which parsed them."""

    reader: bytes
    parsed: dict[str, _Parsed]
    added: dict[str, _Parsed]


@cache
def _cached() -> _Cache:
    parsed: dict[str, _Parsed] = {}
    with suppress(OSError, ValueError, TypeError, AttributeError):
        parsed = {key: (str(digest), [*names]) for key, (digest, names) in json.loads(_PARSED.read_bytes()).items()}
    return _Cache(Path(__file__).read_bytes() + sys.version.encode(), parsed, {})


def _write_cache() -> None:
    """Write what `_PARSED` lacks, unless the folder cannot be written or Python is to write no byte code."""
    cached = _cached()
    if not cached.added or sys.dont_write_bytecode:
        return
    kept = cached.parsed if len(cached.parsed) <= _MAX_PARSED else cached.added
    temporary = _PARSED.with_suffix(f".{os.getpid()}")
    with suppress(OSError):
        temporary.write_text(json.dumps(kept), encoding="utf-8")
        temporary.replace(_PARSED)
    cached.added.clear()


@cache
def _file(name: str) -> Path | None:
    """Return the source file of a module; for this package without importing anything."""
    package, *parts = name.split(".")
    if package != PACKAGE:
        spec = importlib.util.find_spec(name)
        return None if spec is None or spec.origin is None else Path(spec.origin)
    file = _FOLDER.joinpath(*parts).with_suffix(".py") if parts else _FOLDER / "__init__.py"
    return file if file.is_file() else None


def _package_module(imported: str, is_module: Callable[[str], bool]) -> str | None:
    """Return the module of this package that an imported name is, or is defined in; None for another package."""
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


def _effective_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Walk through the nodes of a syntax tree that have an effect at run time."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not _has_no_effect(child):
            yield from _effective_nodes(child)


def _has_no_effect(node: ast.AST) -> bool:
    """Return whether a node is a docstring, another bare string, or code for type checkers only."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return isinstance(node, ast.If) and not node.orelse and ast.unparse(node.test) in _TYPES_ONLY


def _text(value: Any) -> str:  # noqa: ANN401 - nodes, lists of them, and constants
    """Serialize a syntax tree identically under every version of Python: later versions of `ast.dump` add fields."""
    if isinstance(value, ast.AST):
        fields = (f"{name}={_text(part)}" for name, part in ast.iter_fields(value) if part is not None and part != [])
        return f"{type(value).__name__}({','.join(fields)})"
    if isinstance(value, list):
        return f"[{','.join(_text(part) for part in value if not _has_no_effect(part))}]"
    return repr(value)


@cache
def _version(name: str) -> str:
    for distribution in LIBRARIES[name]:
        try:
            return ".".join(importlib.metadata.version(distribution).split("+")[0].split(".")[:2])
        except importlib.metadata.PackageNotFoundError:
            continue
    return "not installed"
