"""Declare the current code equal to an earlier version: run both, compare their results, record equivalent modules.

`pipeline.core.code` reads the record, a list of entries with these keys:

- ``commit``: the earlier version
- ``modules``: module to ``new``, its digest, and ``stands_for``, the modules and digests of the earlier version that it
  is equivalent to; none for an added module
- ``proof``: ``files`` (suffix to number of equal files), ``configuration`` (name to SHA-256, 16 digits), ``versions``

The proof is limited to the code that the configuration runs, and to the machine on which it ran.
"""

import ast
import contextlib
import hashlib
import importlib.metadata
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
    read_module,
    read_record,
    resolve_equivalents,
    transitive_imports,
)
from pipeline.core.errors import ComparisonError
from pipeline.core.files import read_json
from pipeline.core.progress import log
from pipeline.core.tables import write_json
from pipeline.tools.verify import Comparison, compare_runs

ROOT = Path(__file__).parents[2]

_EXCLUSION_LISTS = ("EXCLUDED", "OVERLOOKED", "PLUMBING", "SETTINGS")  # names in this and in earlier versions
_PACKAGES_WITHOUT_STAGE = ("cli", "config", "graph", "tools")
_PROGRAMS = ("snakemake", "torch", "numpy")

Stages = Callable[[Sequence[Path]], Iterable[tuple[str, frozenset[str]]]]
"""Returns the stages that a configuration runs and whose results are compared, each with its name and root modules."""


class Sources(NamedTuple):
    """A version of the package.

    Parameters
    ----------
    read : callable
        Returns a module by its name.
    names : frozenset of str
        All modules.
    excluded : frozenset of str
        Modules without digest; see `pipeline.core.code.EXCLUDED`.
    """

    read: Callable[[str], Module]
    names: frozenset[str]
    excluded: frozenset[str]

    @property
    def digested(self) -> frozenset[str]:
        """Modules whose code has a digest if a stage runs it."""
        return frozenset(
            name for name in self.names - self.excluded if name.split(".")[1] not in _PACKAGES_WITHOUT_STAGE
        )

    def transitive_imports(self, roots: Iterable[str]) -> list[str]:
        """Return known modules and everything they import, directly or indirectly, except `excluded`."""
        return transitive_imports([root for root in roots if root in self.names], self.read, self.excluded)

    def digests(self, modules: Iterable[str]) -> dict[str, str]:
        """Return the digests of modules."""
        return {module: self.read(module).digest for module in modules}


class Declaration(NamedTuple):
    """Outcome of a comparison of two versions.

    Parameters
    ----------
    comparison : Comparison
        Comparison of the results of both versions.
    modules : dict
        The recorded modules; empty if results differ.
    modules_not_run : list of str
        Changed modules that no stage of the comparison ran; they count as changed.
    stages_to_rerun : list of str
        Stages of the configuration whose code still counts as changed.
    """

    comparison: Comparison
    modules: Mapping[str, Any]
    modules_not_run: list[str]
    stages_to_rerun: list[str]


def declare(revision: str, configs: Sequence[Path], stages: Stages, *, root: Path = ROOT) -> Declaration:
    """Run a configuration under an earlier and the current version, and record equivalent modules if results are equal.

    Parameters
    ----------
    revision : str
        Git revision of the earlier version.
    configs : sequence of Path
        Configuration files; later ones take precedence. Relative roots of data sets refer to the synthetic data
        (``data/synthetic/...``).
    stages : callable
        See `Stages`; called in a folder with copies of the configuration files.
    root : Path
        Checkout of this repository that contains this package.

    Raises
    ------
    ComparisonError
        If the revision does not exist, no module has changed, or the run of a version fails.
    """
    commit = _git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}").strip()
    with tempfile.TemporaryDirectory(prefix="declare-equal-") as name, _worktree(root, commit, Path(name)) as earlier:
        old, new = sources_in(earlier), sources_in(root)
        recorded = read_record((root / PACKAGE / RECORD).read_text(encoding="utf-8"))
        if not module_equivalents(old, new, new.digested, recorded):
            state = f"no module with a digest differs from {commit[:12]}"
            raise ComparisonError(revision, state, "a refactoring to declare", "name a commit before the refactoring")
        names = [f"{number}-{path.name}" for number, path in enumerate(configs)]
        folders = [Path(name, version) for version in ("earlier", "here")]
        for folder in folders:
            folder.mkdir()
            for path, name_of_copy in zip(configs, names, strict=True):
                shutil.copy2(path, folder / name_of_copy)
            _run(root, folder, "pipeline", "synthetic")
        with contextlib.chdir(folders[1]):
            run_stages = list(stages([Path(name_of_copy) for name_of_copy in names]))
        used = new.transitive_imports({module for _, roots in run_stages for module in roots})
        modules = module_equivalents(old, new, used, recorded)
        for code, folder in zip((earlier, root), folders, strict=True):
            log(f"running the configuration with the code in {code}")
            files = [str(folder / name_of_copy) for name_of_copy in names]
            _run(code, folder, "snakemake", "--snakefile", str(code / "Snakefile"), "--configfile", *files)
        edited = sorted(sources_in(root).digests(new.digested).items() - new.digests(new.digested).items())
        if edited:
            found = f"modules edited during the run: {', '.join(module for module, _ in edited)}"
            remedy = "run the command again, and edit no modules while it runs"
            raise ComparisonError(str(root), found, "unchanged modules", remedy)
        comparison = compare_runs(*(folder / "results" for folder in folders), values_only=True)
        if comparison.differences:
            return Declaration(comparison, {}, [], [])
        if modules:
            _record(root, commit, modules, comparison, configs)
        recorded = read_record((root / PACKAGE / RECORD).read_text(encoding="utf-8"))
        modules_not_run = sorted(module_equivalents(old, new, new.digested, recorded))
        return Declaration(comparison, modules, modules_not_run, _changed_stages(old, new, run_stages, recorded))


def sources_in(root: Path) -> Sources:
    """Read the package in a checkout."""
    files = {
        ".".join(path.relative_to(root).with_suffix("").parts): path
        for path in (root / PACKAGE).rglob("*.py")
        if path.name != "__init__.py"
    }
    return sources_of(frozenset(files), lambda name: files[name].read_bytes())


def sources_of(names: frozenset[str], text: Callable[[str], bytes]) -> Sources:
    """Return a version of the package, given the names of its modules and a function that returns their sources."""

    @cache
    def read(name: str) -> Module:
        return read_module(text(name), names.__contains__)

    code_module = f"{PACKAGE}.core.code"
    return Sources(read, names, excluded_in(text(code_module)) if code_module in names else frozenset())


def excluded_in(source: bytes) -> frozenset[str]:
    """Parse the names of excluded modules from the source of `pipeline.core.code`."""
    keys = [
        key
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
        if any(isinstance(target, ast.Name) and target.id in _EXCLUSION_LISTS for target in node.targets)
        for key in node.value.keys
    ]
    return frozenset(key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str))


def module_equivalents(
    old: Sources, new: Sources, modules: Collection[str], recorded: Equivalents
) -> dict[str, dict[str, Any]]:
    """Return the old modules that each changed module is equivalent to, if the results of both versions are equal.

    Parameters
    ----------
    old, new : Sources
    modules : collection of str
        Modules of the new version.
    recorded : dict
        Previously declared equivalents.

    Returns
    -------
    dict of str to dict
        ``new`` and ``stands_for`` of each module that counts as changed. A module is equivalent to its old version and
        to the modules that it no longer imports, such as removed ones.

    Raises
    ------
    ComparisonError
        If a module was already declared equal to something else.
    """
    changed = {}
    for module in sorted(modules):
        digest = new.read(module).digest
        existed = module in old.digested
        if existed and old.read(module).digest == digest:
            continue
        equivalents = old.digests([module, *_dropped_imports(old, new, module)]) if existed else {}
        if resolve_equivalents({module: digest}, recorded) == resolve_equivalents(equivalents, recorded):
            continue
        if (module, digest) in recorded:
            state = f"the digest {digest}, which was declared equal to something else"
            remedy = f"remove its entry from {PACKAGE}/{RECORD}, then declare it again"
            raise ComparisonError(module, state, "one declaration for each digest", remedy)
        changed[module] = {"new": digest, "stands_for": equivalents}
    return changed


def _dropped_imports(old: Sources, new: Sources, module: str) -> list[str]:
    """Return the modules that a module imported, directly or through dropped modules, and no longer imports."""
    current, dropped = set(new.transitive_imports([module])), set[str]()
    pending = set(old.read(module).modules)
    while pending:
        name = pending.pop()
        if name not in current and name not in dropped and name not in old.excluded:
            dropped.add(name)
            pending |= old.read(name).modules
    return sorted(dropped)


def _changed_stages(
    old: Sources, new: Sources, stages: Iterable[tuple[str, frozenset[str]]], recorded: Equivalents
) -> list[str]:
    """Return the names of stages whose code counts as changed."""
    return sorted(
        {
            name
            for name, roots in stages
            if resolve_equivalents(new.digests(new.transitive_imports(roots)), recorded)
            != resolve_equivalents(old.digests(old.transitive_imports(roots)), recorded)
        }
    )


def _record(
    root: Path, commit: str, modules: Mapping[str, Any], comparison: Comparison, configs: Sequence[Path]
) -> None:
    path = root / PACKAGE / RECORD
    files = Counter(Path(name).suffix for name in (*comparison.equal, *comparison.equal_contents))
    proof = {
        "files": files,
        "configuration": {config.name: hashlib.sha256(config.read_bytes()).hexdigest()[:16] for config in configs},
        "versions": {name: importlib.metadata.version(name) for name in _PROGRAMS},
    }
    entries = read_json(path)
    write_json(path, [*entries, {"commit": commit, "modules": modules, "proof": proof}])


@contextmanager
def _worktree(root: Path, commit: str, folder: Path) -> Iterator[Path]:
    """Check out a commit into the subfolder ``code`` of a folder, and remove it after the block."""
    worktree = folder / "code"
    _git(root, "worktree", "add", "--quiet", "--detach", str(worktree), commit)
    try:
        yield worktree
    finally:
        _git(root, "worktree", "remove", "--force", str(worktree))


def _git(root: Path, *arguments: str) -> str:
    try:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603 - no shell
    except FileNotFoundError as error:
        raise ComparisonError("git", "git is not installed", "the program git", "install git") from error
    except subprocess.CalledProcessError as error:
        reason = " ".join(error.stderr.split()) or "no such commit"
        expected = "a checkout of this repository with that commit"
        location = f"git {' '.join(arguments)}, in {root}"
        raise ComparisonError(location, reason, expected, "name an existing commit") from error


def _run(code: Path, folder: Path, module: str, *arguments: str) -> None:
    """Run a Python module in a folder, with the package of a checkout."""
    ignored_variables = ("SNAKEMAKE_PROFILE", "SNAKEMAKE_OUTPUT_CACHE")
    environment = {name: value for name, value in os.environ.items() if name not in ignored_variables}
    environment["PYTHONPATH"] = str(code)
    cores = ["--cores", str(os.cpu_count() or 1)] if module == "snakemake" else []
    command = [sys.executable, "-m", module, *arguments, *cores]
    completed = subprocess.run(command, cwd=folder, env=environment, check=False)  # noqa: S603
    if completed.returncode:
        state = f"{module} failed with exit status {completed.returncode}"
        raise ComparisonError(f"the code in {code}", state, "a successful run", "see the error message above")
