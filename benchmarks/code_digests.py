"""Replay the git history: count the commits that would have made finished results outdated.

    python benchmarks/code_digests.py [--commits 100] [--until REV]

Reads the sources of the last first-parent commits from git, without a checkout. Prints for each stage how many commits
changed the digest of its code: by the exclusion rule of that commit, and by the current rule, which also excludes
`PLUMBING`. Then lists the commits that change `train` by the current rule, and those that did so only by the rule of
their time.
"""

import argparse
import subprocess
from functools import cache
from pathlib import Path

from pipeline.core.code import LIBRARIES, PACKAGE, PLUMBING, Module, read_module, transitive_imports
from pipeline.tools.equal import excluded_in

ROOT = Path(__file__).parents[1]
STAGES = {
    "train": ("pipeline.training.run", "pipeline.models.unet"),
    "shard": ("pipeline.shards.write",),
    "predict": ("pipeline.prediction.predict", "pipeline.models.unet"),
}
"""Root modules of stages, with a network; none of them was ever renamed."""

LIST_MODULES = ("pipeline.core.code", "pipeline.core.fingerprint", "pipeline.fingerprint")
"""Modules that listed the excluded modules over time, latest first."""

PLUMBING_NAMES = {name.rpartition(".")[2] for name in PLUMBING}


def git(*arguments):
    return subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, check=True).stdout


@cache
def text(blob):
    return git("cat-file", "blob", blob)


@cache
def module(blob, names):
    return read_module(text(blob), names.__contains__)


def sources(commit):
    """Return the modules of the package at a commit, with their blobs."""
    lines = git("ls-tree", "-r", commit, PACKAGE).decode().splitlines()
    files = {line.split("\t")[1]: line.split()[2] for line in lines}
    return {
        path.removesuffix(".py").replace("/", "."): blob
        for path, blob in files.items()
        if path.endswith(".py") and not path.endswith("__init__.py")
    }


def is_plumbing(name, read, excluded):
    """Return whether a module is in `PLUMBING`, possibly under an earlier name, and imports only excluded modules."""
    *parents, last = name.split(".")
    if name not in PLUMBING and (parents not in ([PACKAGE], [PACKAGE, "core"]) or last not in PLUMBING_NAMES):
        return False
    source: Module = read(name)
    imported = source.modules - excluded - {name}
    return not source.libraries & LIBRARIES.keys() and all(is_plumbing(other, read, excluded) for other in imported)


def digests(commit):
    """Return the digests of the modules of each stage, by both rules; empty for commits without code digests."""
    files = sources(commit)
    names = frozenset(files)

    def read(name):
        return module(files[name], names)

    lists = (excluded_in(text(files[name])) for name in LIST_MODULES if name in names)
    old_rule = next(filter(None, lists), None)
    if old_rule is None:
        return {}
    current_rule = old_rule | {name for name in names if is_plumbing(name, read, old_rule)}
    return {
        (stage, rule): {name: read(name).digest for name in transitive_imports(roots, read, excluded)}
        for stage, roots in STAGES.items()
        for rule, excluded in (("old", old_rule), ("current", current_rule))
    }


def differ(previous, current, key):
    return key in previous and previous[key] != current[key]


def print_commit(commit, previous, current):
    changed = sorted(name for name in {*previous, *current} if previous.get(name) != current.get(name))
    print(f"  {git('log', '-1', '--format=%h %s', commit).decode().strip()[:100]}")
    print(f"      {', '.join(name.removeprefix('pipeline.') for name in changed)}"[:160])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commits", type=int, default=100, help="number of commits (100)")
    parser.add_argument("--until", default="HEAD", metavar="REV", help="last commit (HEAD)")
    arguments = parser.parse_args()
    count = f"--max-count={arguments.commits + 1}"
    commits = git("rev-list", "--first-parent", "--reverse", count, arguments.until).decode().split()
    digests_by_commit = [digests(commit) for commit in commits]
    changes = {
        key: [
            number
            for number in range(1, len(commits))
            if differ(digests_by_commit[number - 1], digests_by_commit[number], key)
        ]
        for key in digests_by_commit[-1]
    }
    print(f"{len(commits) - 1} commits until {git('log', '-1', '--format=%h %s', commits[-1]).decode().strip()}")
    print(f"{sum(map(bool, digests_by_commit))} of {len(commits)} versions digest their code")
    print(f"{'stage':<10}{'old rule':>18}{'current rule':>18}")
    for stage in STAGES:
        print(f"{stage:<10}{len(changes[stage, 'old']):>18}{len(changes[stage, 'current']):>18}")
    for title, numbers in (
        ("train, by the current rule:", changes["train", "current"]),
        ("train, only by the old rule:", sorted({*changes["train", "old"]} - {*changes["train", "current"]})),
    ):
        print(title)
        rule = "current" if title.endswith("current rule:") else "old"
        for number in numbers:
            print_commit(
                commits[number], digests_by_commit[number - 1]["train", rule], digests_by_commit[number]["train", rule]
            )


if __name__ == "__main__":
    main()
