"""Declaring a refactoring equal: what stands for what, the command on a copy, and the record of this repository."""

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
    "pipeline.core.code": 'OVERLOOKED = {"pipeline.core.code": "tells"}\n',
}


def version(**changes):
    """The modules of `OLD`, some of them changed by their last name, added, or taken away with None."""
    texts = {**OLD, **{f"pipeline.raw.{name}": text for name, text in changes.items()}}
    texts = {name: text for name, text in texts.items() if text is not None}
    return sources_of(frozenset(texts), lambda name: texts[name].encode())


def told(old, new, declared=None):
    """Of each changed module, what it stands for."""
    modules = module_equivalents(old, new, new.counted, declared or {})
    assert all(made["new"] == new.read(name).digest for name, made in modules.items())
    return {name.rpartition(".")[2]: {key.rpartition(".")[2] for key in made["stands_for"]}
            for name, made in modules.items()}  # fmt: skip


def table(modules):
    return {(name, made["new"]): made["stands_for"] for name, made in modules.items()}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"d": '"""Words."""\nD = 1\n'}, {}),
        ({"d": "D = 1 + 0\n"}, {"d": {"d"}}),
        ({"a": "from pipeline.raw import b, c, e\nA = e.A\n", "e": "A = 1\n"}, {"a": {"a"}, "e": set()}),
        ({"a": "from pipeline.raw import c\nA = 1\n", "b": None, "d": None}, {"a": {"a", "b", "d"}}),
        ({"a": "from pipeline.raw import e, c\nA = 1\n", "b": None, "e": OLD["pipeline.raw.b"]},
         {"a": {"a", "b"}, "e": set()}),
        ({"a": "from pipeline.raw import b\nA = 1\n"}, {"a": {"a", "c"}}),  # c stays, and is not used here
    ],
    ids=["words", "edited", "taken out", "merged", "renamed", "no longer used"],
)  # fmt: skip
def test_changed_modules_stand_for_what_they_were_made_of(changes, expected):
    old, new = version(), version(**changes)
    assert told(old, new) == expected
    declared = table(module_equivalents(old, new, new.counted, {}))
    root = ["pipeline.raw.a"]
    assert resolve_equivalents(new.digests(new.closure(root)), declared) == old.digests(old.closure(root))
    assert told(old, new, declared) == {}


def test_a_second_refactoring_on_top_of_a_first_leads_back_to_the_beginning():
    first, second, third = version(), version(d="D = 1 + 0\n"), version(d="D = 0 + 1\n")
    declared = table(module_equivalents(first, second, second.counted, {}))
    declared |= table(module_equivalents(second, third, third.counted, declared))
    for sources in (second, third):
        assert resolve_equivalents(sources.digests(sources.counted), declared) == first.digests(first.counted)
    edited = version(d="D = 2\n")
    digests = resolve_equivalents(edited.digests(edited.counted), declared)
    assert digests["pipeline.raw.d"] == edited.read("pipeline.raw.d").digest
    assert told(third, first, declared) == {}  # taken back: nothing to declare


def test_one_digest_is_declared_equal_once():
    first, other, new = version(), version(d="D = 2\n"), version(d="D = 3\n")
    declared = table(module_equivalents(first, new, new.counted, {}))
    with pytest.raises(ComparisonError, match="was declared equal to something else"):
        module_equivalents(other, new, new.counted, declared)


def test_what_does_not_count_is_read_off_the_source_of_each_version():
    assert excluded_in(b'A = {"x": "y"}\nPLUMBING = {"a": "b"}\nOVERLOOKED = {**PLUMBING, "c": "d"}\n') == {"a", "c"}
    assert "pipeline.core.files" in sources_in(ROOT).overlooked
    assert "pipeline.shards.write" in sources_in(ROOT).counted


def git(*words):
    return subprocess.run(["git", "-C", ROOT, *words], capture_output=True, check=False)


ENTRIES = json.loads((ROOT / PACKAGE / RECORD).read_text())


def test_the_record_says_of_each_digest_once_what_it_stands_for_and_goes_in_no_circle():
    pairs = [(module, made["new"]) for entry in ENTRIES for module, made in entry["modules"].items()]
    assert len(set(pairs)) == len(pairs)
    declared = read_record(json.dumps(ENTRIES))
    ends = {}

    def end(pair, above=()):
        assert pair not in above, f"{pair} stands for itself"
        if pair not in ends:
            for further in declared.get(pair, {}).items():
                end(further, (*above, pair))
            ends[pair] = True

    for pair in pairs:
        end(pair)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["commit"][:12])
def test_an_entry_of_the_record_is_whole(entry):
    assert entry.keys() == {"commit", "modules", "proof"}
    assert entry["proof"].keys() == {"files", "configuration", "versions"}
    assert {".h5", ".pt", ".png", ".csv"} <= entry["proof"]["files"].keys()
    assert entry["modules"]
    for module, made in entry["modules"].items():
        assert made.keys() == {"new", "stands_for"}
        assert made["stands_for"].get(module) != made["new"]
        assert all(len(digest) == 16 for digest in (made["new"], *made["stands_for"].values()))


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["commit"][:12])
def test_old_digests_of_the_record_are_those_of_its_commit(entry):
    commit = entry["commit"]
    if git("cat-file", "-e", commit).returncode:
        shallow = git("rev-parse", "--is-shallow-repository")
        assert shallow.returncode or shallow.stdout.strip() == b"true", f"no commit {commit}"
        pytest.skip("no history here")
    for made in entry["modules"].values():
        for module, digest in made["stands_for"].items():
            source = git("show", f"{commit}:{module.replace('.', '/')}.py").stdout
            assert read_module(source, lambda name: False).digest == digest, module


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A repository with this code, and a configuration that takes seconds."""
    folder = copy_code(tmp_path_factory.mktemp("repository"))
    (folder / "small.yaml").write_text(CONFIG)
    for words in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "--message", "Before")):
        author = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        subprocess.run(["git", "-C", folder, *author, *words], check=True)
    return folder


def call(copy, *words):
    environment = {**os.environ, "PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)


def declare(copy, *words):
    return call(copy, "-m", "pipeline", "declare-equal", "--against", "HEAD", "--config", "small.yaml", *words)


def digests(copy):
    """The digests of a training's code and of the table of scores."""
    roots = ["pipeline.training.run", "pipeline.models.unet", "pipeline.evaluation.evaluate"]
    done = call(copy, "-c", f"from pipeline.core.code import code_digests; print(code_digests({roots}))")
    return done.stdout


def edit(copy, name, old, new):
    path = copy / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_nothing_to_declare_and_no_such_commit_are_refused(copy):
    done = declare(copy)
    assert done.returncode == 1
    assert "no module that counts differs" in done.stderr
    done = call(copy, "-m", "pipeline", "declare-equal", "--against", "nowhere")
    assert done.returncode == 1
    assert "nothing of that name" in done.stderr
    assert not subprocess.run(["git", "-C", copy, "status", "--short"], capture_output=True, check=True).stdout


@pytest.mark.slow
@pytest.mark.timeout(1500)  # four runs of the workflow
def test_a_refactoring_is_declared_equal_and_a_change_of_values_is_refused(copy):
    before = digests(copy)
    assert "pipeline.training.seeds" in before
    seeds = Path("pipeline/training/seeds.py")
    edit(copy, seeds, "return stable_hash(seed, purpose) >> 1", "return _halved(stable_hash(seed, purpose))")
    (copy / seeds).write_text(
        (copy / seeds).read_text() + "\n\ndef _halved(number: int) -> int:\n    return number // 2\n"
    )
    edit(copy, "pipeline/models/u2net.py", "import torch\n", "import torch\n\nADDED = 1\n")
    assert digests(copy) != before
    done = declare(copy)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "declared equal: pipeline.training.seeds\n" in done.stdout
    assert "counts as changed: pipeline.models.u2net, because no compared result ran it" in done.stdout
    assert "will run again" not in done.stdout
    assert digests(copy) == before
    (entry,) = json.loads((copy / PACKAGE / RECORD).read_text())
    test_an_entry_of_the_record_is_whole(entry)
    assert entry["modules"].keys() == {"pipeline.training.seeds"}
    assert entry["proof"]["configuration"].keys() == {"small.yaml"}

    edit(copy, seeds, "number // 2", "number // 3")
    assert digests(copy) != before  # edited again, it counts in full
    done = declare(copy)
    assert done.returncode == 1
    assert "the first difference is in" in done.stdout
    assert "models/a/best.pt" in done.stdout
    assert "Not declared equal" in done.stdout
    assert json.loads((copy / PACKAGE / RECORD).read_text()) == [entry]
    worktrees = subprocess.run(["git", "-C", copy, "worktree", "list"], capture_output=True, text=True, check=True)
    assert len(worktrees.stdout.splitlines()) == 1
