"""Replay the history: how often an edit of the code would have run finished results again.

    python benchmarks/code_digests.py [--commits 100] [--until REV]

Reads the sources of the last first-parent commits out of git, touches no checkout, and prints for each stage how many
commits changed the digest of its code: by the modules that did not count at the time, and by today's rule, by which
plumbing does not count either. Then it lists the commits that change `train` by today's rule, and those that only did
so before.
"""

import argparse
import subprocess
from functools import cache
from pathlib import Path

from pipeline.core.code import LIBRARIES, PACKAGE, PLUMBING, Module, closure, read_module
from pipeline.tools.equal import excluded_in

ROOT = Path(__file__).parents[1]
STAGES = {
    "train": ("pipeline.training.run", "pipeline.models.unet"),
    "shard": ("pipeline.shards.write",),
    "predict": ("pipeline.prediction.predict", "pipeline.models.unet"),
}
"""Root modules, with a network; none of them was renamed."""

LISTS = ("pipeline.core.code", "pipeline.core.fingerprint", "pipeline.fingerprint")
"""Where the modules that do not count were listed, the latest place first."""

NAMES = {name.rpartition(".")[2] for name in PLUMBING}


def git(*words):
    return subprocess.run(["git", "-C", ROOT, *words], capture_output=True, check=True).stdout


@cache
def text(blob):
    return git("cat-file", "blob", blob)


@cache
def module(blob, names):
    return read_module(text(blob), names.__contains__)


def sources(commit):
    """The modules of the package at a commit, each with its blob."""
    lines = git("ls-tree", "-r", commit, PACKAGE).decode().splitlines()
    files = {line.split("\t")[1]: line.split()[2] for line in lines}
    return {
        path.removesuffix(".py").replace("/", "."): blob
        for path, blob in files.items()
        if path.endswith(".py") and not path.endswith("__init__.py")
    }


def is_plumbing(name, read, overlooked):
    """Whether a module is one of `PLUMBING` by its earlier name, and keeps the rule that stands there."""
    *above, last = name.split(".")
    if name not in PLUMBING and (above not in ([PACKAGE], [PACKAGE, "core"]) or last not in NAMES):
        return False
    made: Module = read(name)
    others = made.modules - overlooked - {name}
    return not made.libraries & LIBRARIES.keys() and all(is_plumbing(one, read, overlooked) for one in others)


def digests(commit):
    """Of each stage the digests of its modules, by both rules; nothing before the pipeline digested its code."""
    files = sources(commit)
    names = frozenset(files)

    def read(name):
        return module(files[name], names)

    then = next((found for name in LISTS if name in names and (found := excluded_in(text(files[name])))), None)
    if then is None:
        return {}
    now = then | {name for name in names if is_plumbing(name, read, then)}
    return {
        (stage, rule): {name: read(name).digest for name in closure(roots, read, overlooked)}
        for stage, roots in STAGES.items()
        for rule, overlooked in (("then", then), ("now", now))
    }


def differ(before, after, key):
    return key in before and before[key] != after[key]


def show(commit, before, after):
    changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    print(f"  {git('log', '-1', '--format=%h %s', commit).decode().strip()[:100]}")
    print(f"      {', '.join(name.removeprefix('pipeline.') for name in changed)}"[:160])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commits", type=int, default=100, help="how many (100)")
    parser.add_argument("--until", default="HEAD", metavar="REV", help="the last of them (HEAD)")
    arguments = parser.parse_args()
    count = f"--max-count={arguments.commits + 1}"
    commits = git("rev-list", "--first-parent", "--reverse", count, arguments.until).decode().split()
    replayed = [digests(commit) for commit in commits]
    changes = {
        key: [number for number in range(1, len(commits)) if differ(replayed[number - 1], replayed[number], key)]
        for key in replayed[-1]
    }
    print(f"{len(commits) - 1} commits until {git('log', '-1', '--format=%h %s', commits[-1]).decode().strip()}")
    print(f"{sum(map(bool, replayed))} of {len(commits)} versions digest their code")
    print(f"{'stage':<10}{'rule of the time':>18}{'rule of today':>18}")
    for stage in STAGES:
        print(f"{stage:<10}{len(changes[stage, 'then']):>18}{len(changes[stage, 'now']):>18}")
    for title, numbers in (
        ("train, by the rule of today:", changes["train", "now"]),
        ("train, by the rule of the time alone:", sorted({*changes["train", "then"]} - {*changes["train", "now"]})),
    ):
        print(title)
        rule = "now" if title.endswith("today:") else "then"
        for number in numbers:
            show(commits[number], replayed[number - 1]["train", rule], replayed[number]["train", rule])


if __name__ == "__main__":
    main()
