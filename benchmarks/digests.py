"""Replay the git history: how many of the last commits would have made finished results outdated.

Reads the sources of the last 100 first-parent commits from git, without a checkout. old rule: the digest of a stage's
code excludes what that commit excluded; current rule: it also excludes `PLUMBING`.
"""

import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from typing import Any

from benchmarks.context import Context
from benchmarks.measure import Case, NotRun, Variant
from benchmarks.worker import ROOT

STAGES = {
    "train": ("pipeline.training.run", "pipeline.models.unet"),
    "shard": ("pipeline.shards.write",),
    "predict": ("pipeline.prediction.predict", "pipeline.models.unet"),
}
"""Root modules of stages, with a network; none of them was ever renamed."""

LIST_MODULES = ("pipeline.core.code", "pipeline.core.fingerprint", "pipeline.fingerprint")
"""Modules that listed the excluded modules over time, latest first."""


def git(*arguments: str) -> bytes:
    """Return the output of git.

    Raises
    ------
    NotRun
        Without git, or without a history.
    """
    try:
        return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotRun("there is no history of git") from error


@cache
def text(blob: str) -> bytes:
    return git("cat-file", "blob", blob)


@cache
def module(blob: str, names: frozenset[str]) -> Any:
    from pipeline.core.code import read_module

    return read_module(text(blob), names.__contains__)


def sources(commit: str) -> dict[str, str]:
    """Return the modules of the package at a commit, with their blobs."""
    lines = git("ls-tree", "-r", commit, "pipeline").decode().splitlines()
    files = {line.split("\t")[1]: line.split()[2] for line in lines}
    return {
        path.removesuffix(".py").replace("/", "."): blob
        for path, blob in files.items()
        if path.endswith(".py") and not path.endswith("__init__.py")
    }


def is_plumbing(name: str, read: Callable[[str], Any], excluded: frozenset[str]) -> bool:
    """Return whether a module is in `PLUMBING`, possibly under an earlier name, and imports only excluded modules."""
    from pipeline.core.code import LIBRARIES, PLUMBING

    *parents, last = name.split(".")
    plumbing = {one.rpartition(".")[2] for one in PLUMBING}
    if name not in PLUMBING and (parents not in (["pipeline"], ["pipeline", "core"]) or last not in plumbing):
        return False
    source = read(name)
    imported = source.modules - excluded - {name}
    return not source.libraries & LIBRARIES.keys() and all(is_plumbing(other, read, excluded) for other in imported)


def digests(commit: str) -> dict[tuple[str, str], dict[str, str]]:
    """Return the digests of the modules of each stage, by both rules; empty for commits without code digests."""
    from pipeline.core.code import transitive_imports
    from pipeline.tools.equal import excluded_in

    files = sources(commit)
    names = frozenset(files)

    def read(name: str) -> Any:
        return module(files[name], names)

    lists = (excluded_in(text(files[name])) for name in LIST_MODULES if name in names)
    old_rule = next(filter(None, lists), None)
    if old_rule is None:
        return {}
    current_rule = old_rule | {name for name in names if is_plumbing(name, read, old_rule)}
    return {
        (stage, rule): {name: read(name).digest for name in transitive_imports(roots, read, excluded)}
        for stage, roots in STAGES.items()
        for rule, excluded in (("old rule", old_rule), ("current rule", current_rule))
    }


def cases(context: Context) -> Iterator[Case]:
    """Yield one case: commits that change a stage."""
    commits = git("rev-list", "--first-parent", "--reverse", "--max-count=101", "HEAD").decode().split()
    history: list[dict[tuple[str, str], dict[str, str]]] = []

    def count(rule: str) -> dict[str, float]:
        history.extend(map(digests, commits[len(history) :]))
        pairs = list(pairwise(history))
        return {
            stage: sum((stage, rule) in old and old[stage, rule] != new.get((stage, rule)) for old, new in pairs)
            for stage in STAGES
        }

    variants = [Variant(rule, lambda rule=rule: count(rule)) for rule in ("old rule", "current rule")]  # type: ignore[misc]
    name = f"of the last {len(commits) - 1} commits, those that change the code of"
    yield Case(name, dict.fromkeys(STAGES, "commits"), variants, "", max_rounds=1)
