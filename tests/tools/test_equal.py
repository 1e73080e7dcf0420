"""Declare a refactoring equal: module equivalents, the command on a copy, and the record of this repository."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from projects import ROOT, copy_code

from pipeline.core.code import PACKAGE, RECORD, read_module, read_record, resolve_equivalents
from pipeline.core.errors import ComparisonError
from pipeline.tools.equal import excluded_in, module_equivalents, sources_in, sources_of

CONFIG = """
datasets:
  t: {layout: tgs, root: data/synthetic/TGS, size: [32, 32], test: {rule: permutation, fraction: 0.25, seed: 42}}
experiments:
  a:
    dataset: t
    model: {name: unet, width: 4, depth: 2}
    loss: bce
    optimizer: {name: adam, lr: 0.02}
    batch_size: 4
    epochs: 1
    threads: 1
"""

OLD = {
    "pipeline.raw.a": "from pipeline.raw import b, c\nA = 1\n",
    "pipeline.raw.b": "from pipeline.raw import d\n",
    "pipeline.raw.c": "import numpy\n",
    "pipeline.raw.d": "D = 1\n",
    "pipeline.core.code": 'OVERLOOKED = {"pipeline.core.code": "records"}\n',
}


def version(**changes):
    """Return a version with the modules of `OLD`, changed or added by last name, or removed by None."""
    texts = {**OLD, **{f"pipeline.raw.{name}": text for name, text in changes.items()}}
    texts = {name: text for name, text in texts.items() if text is not None}
    return sources_of(frozenset(texts), lambda name: texts[name].encode())


def equivalents_of(old, new, recorded=None):
    """Return, by last name, the old modules that each changed module is equivalent to."""
    modules = module_equivalents(old, new, new.digested, recorded or {})
    assert all(equivalence["new"] == new.read(name).digest for name, equivalence in modules.items())
    return {name.rpartition(".")[2]: {key.rpartition(".")[2] for key in equivalence["stands_for"]}
            for name, equivalence in modules.items()}  # fmt: skip


def as_record(modules):
    return {(name, equivalence["new"]): equivalence["stands_for"] for name, equivalence in modules.items()}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"d": '"""Docstring."""\nD = 1\n'}, {}),
        ({"d": "D = 1 + 0\n"}, {"d": {"d"}}),
        ({"a": "from pipeline.raw import b, c, e\nA = e.A\n", "e": "A = 1\n"}, {"a": {"a"}, "e": set()}),
        ({"a": "from pipeline.raw import c\nA = 1\n", "b": None, "d": None}, {"a": {"a", "b", "d"}}),
        ({"a": "from pipeline.raw import e, c\nA = 1\n", "b": None, "e": OLD["pipeline.raw.b"]},
         {"a": {"a", "b"}, "e": set()}),
        ({"a": "from pipeline.raw import b\nA = 1\n"}, {"a": {"a", "c"}}),  # c still exists
    ],
    ids=["docstring", "edited", "split", "merged", "renamed", "no longer used"],
)  # fmt: skip
def test_changed_modules_are_equivalent_to_their_sources(changes, expected):
    old, new = version(), version(**changes)
    assert equivalents_of(old, new) == expected
    recorded = as_record(module_equivalents(old, new, new.digested, {}))
    root = ["pipeline.raw.a"]
    assert resolve_equivalents(new.digests(new.transitive_imports(root)), recorded) == old.digests(
        old.transitive_imports(root)
    )
    assert equivalents_of(old, new, recorded) == {}


def test_equivalents_are_resolved_over_two_refactorings():
    first, second, third = version(), version(d="D = 1 + 0\n"), version(d="D = 0 + 1\n")
    recorded = as_record(module_equivalents(first, second, second.digested, {}))
    recorded |= as_record(module_equivalents(second, third, third.digested, recorded))
    for sources in (second, third):
        assert resolve_equivalents(sources.digests(sources.digested), recorded) == first.digests(first.digested)
    edited = version(d="D = 2\n")
    digests = resolve_equivalents(edited.digests(edited.digested), recorded)
    assert digests["pipeline.raw.d"] == edited.read("pipeline.raw.d").digest
    assert equivalents_of(third, first, recorded) == {}  # reverted: nothing to declare


def test_a_digest_is_declared_equal_only_once():
    first, other, new = version(), version(d="D = 2\n"), version(d="D = 3\n")
    recorded = as_record(module_equivalents(first, new, new.digested, {}))
    with pytest.raises(ComparisonError, match="was declared equal to something else"):
        module_equivalents(other, new, new.digested, recorded)


def test_excluded_modules_are_parsed_from_each_version():
    assert excluded_in(b'A = {"x": "y"}\nPLUMBING = {"a": "b"}\nOVERLOOKED = {**PLUMBING, "c": "d"}\n') == {"a", "c"}
    assert "pipeline.core.files" in sources_in(ROOT).excluded
    assert "pipeline.shards.write" in sources_in(ROOT).digested


def git(*arguments):
    return subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, check=False)


ENTRIES = json.loads((ROOT / PACKAGE / RECORD).read_text())


def test_the_record_has_unique_digests_and_no_cycle():
    pairs = [(module, equivalence["new"]) for entry in ENTRIES for module, equivalence in entry["modules"].items()]
    assert len(set(pairs)) == len(pairs)
    recorded = read_record(json.dumps(ENTRIES))
    visited = set()

    def visit(pair, ancestors=()):
        assert pair not in ancestors, f"{pair} is equivalent to itself"
        if pair not in visited:
            for child in recorded.get(pair, {}).items():
                visit(child, (*ancestors, pair))
            visited.add(pair)

    for pair in pairs:
        visit(pair)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["commit"][:12])
def test_an_entry_of_the_record_is_complete(entry):
    assert entry.keys() == {"commit", "modules", "proof"}
    assert entry["proof"].keys() == {"files", "configuration", "versions"}
    assert {".h5", ".pt", ".png", ".csv"} <= entry["proof"]["files"].keys()
    assert entry["modules"]
    for module, equivalence in entry["modules"].items():
        assert equivalence.keys() == {"new", "stands_for"}
        assert equivalence["stands_for"].get(module) != equivalence["new"]
        assert all(len(digest) == 16 for digest in (equivalence["new"], *equivalence["stands_for"].values()))


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["commit"][:12])
def test_old_digests_of_the_record_match_its_commit(entry):
    commit = entry["commit"]
    if git("cat-file", "-e", commit).returncode:
        shallow = git("rev-parse", "--is-shallow-repository")
        assert shallow.returncode or shallow.stdout.strip() == b"true", f"no commit {commit}"
        pytest.skip("the checkout has no history")
    for equivalence in entry["modules"].values():
        for module, digest in equivalence["stands_for"].items():
            source = git("show", f"{commit}:{module.replace('.', '/')}.py").stdout
            assert read_module(source, lambda name: False).digest == digest, module


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """Return a repository with this code and a configuration that runs in seconds."""
    folder = copy_code(tmp_path_factory.mktemp("repository"))
    (folder / "small.yaml").write_text(CONFIG)
    for command in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "--message", "Before")):
        author = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        subprocess.run(["git", "-C", folder, *author, *command], check=True)
    return folder


def run_python(copy, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)


def declare(copy, *arguments):
    return run_python(
        copy, "-m", "pipeline", "declare-equal", "--against", "HEAD", "--config", "small.yaml", *arguments
    )


def digests(copy):
    """Return the printed digests of the code of a training and an evaluation."""
    roots = ["pipeline.training.run", "pipeline.models.unet", "pipeline.evaluation.evaluate"]
    completed = run_python(copy, "-c", f"from pipeline.core.code import code_digests; print(code_digests({roots}))")
    return completed.stdout


def edit(copy, name, old, new):
    path = copy / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_unchanged_code_and_unknown_commits_are_refused(copy):
    completed = declare(copy)
    assert completed.returncode == 1
    assert "no module with a digest differs" in completed.stderr
    completed = run_python(copy, "-m", "pipeline", "declare-equal", "--against", "nowhere")
    assert completed.returncode == 1
    assert "no such commit" in completed.stderr
    assert not subprocess.run(["git", "-C", copy, "status", "--short"], capture_output=True, check=True).stdout


@pytest.mark.slow
@pytest.mark.timeout(1500)  # four runs of the workflow
def test_a_refactoring_is_declared_equal_a_change_is_not(copy):
    original = digests(copy)
    assert "pipeline.training.seeds" in original
    seeds = Path("pipeline/training/seeds.py")
    edit(copy, seeds, "return stable_hash(seed, purpose) >> 1", "return _halved(stable_hash(seed, purpose))")
    (copy / seeds).write_text(
        (copy / seeds).read_text() + "\n\ndef _halved(number: int) -> int:\n    return number // 2\n"
    )
    edit(copy, "pipeline/models/u2net.py", "import torch\n", "import torch\n\nADDED = 1\n")
    assert digests(copy) != original
    completed = declare(copy)
    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert "declared equal: pipeline.training.seeds\n" in completed.stdout
    assert "counts as changed: pipeline.models.u2net, because no stage of the comparison ran it" in completed.stdout
    assert "will run again" not in completed.stdout
    assert digests(copy) == original
    (entry,) = json.loads((copy / PACKAGE / RECORD).read_text())
    test_an_entry_of_the_record_is_complete(entry)
    assert entry["modules"].keys() == {"pipeline.training.seeds"}
    assert entry["proof"]["configuration"].keys() == {"small.yaml"}

    edit(copy, seeds, "number // 2", "number // 3")
    assert digests(copy) != original  # edited again, so it counts as changed
    completed = declare(copy)
    assert completed.returncode == 1
    assert "the first difference is in" in completed.stdout
    assert "models/a/best.pt" in completed.stdout
    assert "Not declared equal" in completed.stdout
    assert json.loads((copy / PACKAGE / RECORD).read_text()) == [entry]
    worktrees = subprocess.run(["git", "-C", copy, "worktree", "list"], capture_output=True, text=True, check=True)
    assert len(worktrees.stdout.splitlines()) == 1
