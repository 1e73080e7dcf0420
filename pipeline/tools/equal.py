"""Declare that the code here gives what an earlier version gave: run both, compare, record what stands for what.

`pipeline.core.code` reads the record, a list of entries with these keys:

- ``commit``: the earlier version
- ``modules``: module to ``new``, its digest, and ``stands_for``, the modules and digests of the earlier version that it
  counts as; an added module stands for none
- ``proof``: ``files`` (ending to number of files that were equal), ``configuration`` (name to SHA-256, 16 digits),
  ``versions``

The proof covers what the configuration runs, on the machine that ran it, and no further.
"""

import ast
import contextlib
import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.core.code import (
    PACKAGE,
    RECORD,
    Equivalents,
    Module,
    closure,
    read_module,
    read_record,
    resolve_equivalents,
)
from pipeline.core.errors import ComparisonError
from pipeline.core.progress import log
from pipeline.core.tables import write_json
from pipeline.tools.verify import Comparison, compare_runs

ROOT = Path(__file__).parents[2]

_LISTS = ("OVERLOOKED", "PLUMBING", "SETTINGS")
_WITHOUT_STAGE = ("cli", "config", "graph", "tools")
_PROGRAMS = ("snakemake", "torch", "numpy")

Stages = Callable[[Sequence[Path]], Iterable[tuple[str, frozenset[str]]]]
"""Gives the stages that a configuration runs and whose results are compared, each with its name and root modules."""


class Sources(NamedTuple):
    """A version of the package.

    Parameters
    ----------
    read : callable
        Gives a module by its name.
    names : frozenset of str
        All its modules.
    overlooked : frozenset of str
        Those that do not count.
    """

    read: Callable[[str], Module]
    names: frozenset[str]
    overlooked: frozenset[str]

    @property
    def counted(self) -> frozenset[str]:
        """Modules whose code counts where a stage runs it."""
        return frozenset(name for name in self.names - self.overlooked if name.split(".")[1] not in _WITHOUT_STAGE)

    def closure(self, roots: Iterable[str]) -> list[str]:
        """Return those of some modules, and of what they import, that count."""
        return closure([root for root in roots if root in self.names], self.read, self.overlooked)

    def digests(self, modules: Iterable[str]) -> dict[str, str]:
        """Return the digests of some modules."""
        return {module: self.read(module).digest for module in modules}


class Declaration(NamedTuple):
    """What came of a comparison.

    Parameters
    ----------
    comparison : Comparison
        Of the results of both versions.
    modules : dict
        What was recorded; nothing where there are differences.
    not_run : list of str
        Modules that differ too, and that nothing ran whose results were compared: they count in full.
    run_again : list of str
        Stages of the configuration whose code counts as other code all the same.
    """

    comparison: Comparison
    modules: Mapping[str, Any]
    not_run: list[str]
    run_again: list[str]


def declare(revision: str, configs: Sequence[Path], stages: Stages, *, root: Path = ROOT) -> Declaration:
    """Run a configuration under an earlier version and under the code that is here, and record it if nothing differs.

    Parameters
    ----------
    revision : str
        As git takes it.
    configs : sequence of Path
        Later ones over earlier ones. Relative roots of data sets lead into the synthetic data (``data/synthetic/...``).
    stages : callable
        See `Stages`; called in a folder where they were written.
    root : Path
        A checkout of this repository, of which this package is part.

    Raises
    ------
    ComparisonError
        If there is no such revision, nothing to declare, or one of the versions does not run to its end.
    """
    commit = _git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}").strip()
    with tempfile.TemporaryDirectory(prefix="declare-equal-") as name, _worktree(root, commit, Path(name)) as earlier:
        old, new = sources_in(earlier), sources_in(root)
        declared = read_record((root / PACKAGE / RECORD).read_text(encoding="utf-8"))
        if not module_equivalents(old, new, new.counted, declared):
            found, expected = f"no module that counts differs from {commit[:12]}", "a refactoring to declare"
            raise ComparisonError(revision, found, expected, "name a commit before the refactoring")
        names = [f"{number}-{path.name}" for number, path in enumerate(configs)]
        folders = [Path(name, version) for version in ("earlier", "here")]
        for folder in folders:
            folder.mkdir()
            for path, copied in zip(configs, names, strict=True):
                shutil.copy2(path, folder / copied)
            _run(root, folder, "pipeline", "synthetic")
        with contextlib.chdir(folders[1]):
            ran = list(stages([Path(copied) for copied in names]))
        used = new.closure({module for _, roots in ran for module in roots})
        modules = module_equivalents(old, new, used, declared)
        for code, folder in zip((earlier, root), folders, strict=True):
            log(f"runs the configuration with the code in {code}")
            files = [str(folder / copied) for copied in names]
            _run(code, folder, "snakemake", "--snakefile", str(code / "Snakefile"), "--configfile", *files)
        if sources_in(root).digests(new.counted) != new.digests(new.counted):
            found = "modules that were edited meanwhile"
            raise ComparisonError(str(root), found, "the code that was run", "run this again, and leave them alone")
        comparison = compare_runs(*(folder / "results" for folder in folders), values_only=True)
        if comparison.differences:
            return Declaration(comparison, {}, [], [])
        if modules:
            _record(root, commit, modules, comparison, configs)
        declared = read_record((root / PACKAGE / RECORD).read_text(encoding="utf-8"))
        not_run = sorted(module_equivalents(old, new, new.counted, declared))
        return Declaration(comparison, modules, not_run, _changed(old, new, ran, declared))


def sources_in(root: Path) -> Sources:
    """Read the package in a checkout."""
    files = {
        ".".join(path.relative_to(root).with_suffix("").parts): path
        for path in (root / PACKAGE).rglob("*.py")
        if path.name != "__init__.py"
    }
    return sources_of(frozenset(files), lambda name: files[name].read_bytes())


def sources_of(names: frozenset[str], text: Callable[[str], bytes]) -> Sources:
    """Return a version of the package by the names of its modules and what gives their sources."""

    @cache
    def read(name: str) -> Module:
        return read_module(text(name), names.__contains__)

    listing = f"{PACKAGE}.core.code"
    return Sources(read, names, excluded_in(text(listing)) if listing in names else frozenset())


def excluded_in(source: bytes) -> frozenset[str]:
    """Read off the source of `pipeline.core.code` which modules do not count."""
    keys = [
        key
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
        if any(isinstance(target, ast.Name) and target.id in _LISTS for target in node.targets)
        for key in node.value.keys
    ]
    return frozenset(key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str))


def module_equivalents(
    old: Sources, new: Sources, modules: Collection[str], declared: Equivalents
) -> dict[str, dict[str, Any]]:
    """Say what changed modules stand for.

    Parameters
    ----------
    old, new : Sources
    modules : collection of str
        Of the new version.
    declared : dict
        What was declared before.

    Returns
    -------
    dict of str to dict
        Those that count as something else than in the old version: ``new`` and ``stands_for``. A module stands for
        itself as it was, and for what it imported then and does not reach now, such as modules that are gone.

    Raises
    ------
    ComparisonError
        If one of them was declared equal to something else before.
    """
    changed = {}
    for module in sorted(modules):
        digest = new.read(module).digest
        known = module in old.counted
        if known and old.read(module).digest == digest:
            continue
        stands_for = old.digests([module, *_left(old, new, module)]) if known else {}
        if resolve_equivalents({module: digest}, declared) == resolve_equivalents(stands_for, declared):
            continue
        if (module, digest) in declared:
            found = f"the digest {digest}, which was declared equal to something else"
            remedy = f"take its entry out of {PACKAGE}/{RECORD}, then declare it again"
            raise ComparisonError(module, found, "one declaration for each digest", remedy)
        changed[module] = {"new": digest, "stands_for": stands_for}
    return changed


def _left(old: Sources, new: Sources, module: str) -> list[str]:
    """Name what a module imported, directly or through others of these, and does not reach any more."""
    reached, left = set(new.closure([module])), set[str]()
    waiting = set(old.read(module).modules)
    while waiting:
        name = waiting.pop()
        if name not in reached and name not in left and name not in old.overlooked:
            left.add(name)
            waiting |= old.read(name).modules
    return sorted(left)


def _changed(
    old: Sources, new: Sources, stages: Iterable[tuple[str, frozenset[str]]], declared: Equivalents
) -> list[str]:
    """Name stages whose code counts as other code than in the old version."""
    return sorted(
        {
            name
            for name, roots in stages
            if resolve_equivalents(new.digests(new.closure(roots)), declared)
            != resolve_equivalents(old.digests(old.closure(roots)), declared)
        }
    )


def _record(
    root: Path, commit: str, modules: Mapping[str, Any], comparison: Comparison, configs: Sequence[Path]
) -> None:
    path = root / PACKAGE / RECORD
    files = Counter(Path(name).suffix for name in (*comparison.equal, *comparison.equal_contents))
    proof = {
        "files": files,
        "configuration": {one.name: hashlib.sha256(one.read_bytes()).hexdigest()[:16] for one in configs},
        "versions": {name: importlib.metadata.version(name) for name in _PROGRAMS},
    }
    entries = json.loads(path.read_text(encoding="utf-8"))
    write_json(path, [*entries, {"commit": commit, "modules": modules, "proof": proof}])


@contextmanager
def _worktree(root: Path, commit: str, folder: Path) -> Iterator[Path]:
    """Check a commit out into a folder of its own."""
    place = folder / "code"
    _git(root, "worktree", "add", "--quiet", "--detach", str(place), commit)
    try:
        yield place
    finally:
        _git(root, "worktree", "remove", "--force", str(place))


def _git(root: Path, *words: str) -> str:
    try:
        command = ["git", "-C", str(root), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603 - no shell
    except FileNotFoundError as error:
        raise ComparisonError("git", "no such program", "git", "install it") from error
    except subprocess.CalledProcessError as error:
        found = " ".join(error.stderr.split()) or "nothing of that name"
        expected = "a checkout of this repository with that commit"
        raise ComparisonError(
            f"git {' '.join(words)}, in {root}", found, expected, "name a commit that is there"
        ) from error


def _run(code: Path, folder: Path, module: str, *words: str) -> None:
    """Run a program in a folder with the package of a checkout."""
    left_out = ("SNAKEMAKE_PROFILE", "SNAKEMAKE_OUTPUT_CACHE")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    cores = ["--cores", str(os.cpu_count() or 1)] if module == "snakemake" else []
    command = [sys.executable, "-m", module, *words, *cores]
    done = subprocess.run(command, cwd=folder, env={**environment, "PYTHONPATH": str(code)}, check=False)  # noqa: S603
    if done.returncode:
        found = f"status {done.returncode} of {module}"
        raise ComparisonError(f"the code in {code}", found, "a run to its end", "see above what it said")
