"""Modules without digests, and modules that were declared equal."""

import pytest

from pipeline.core import code
from pipeline.core.code import EXCLUDED, LIBRARIES, PLUMBING, code_digests, library_versions, resolve_equivalents
from pipeline.graph.artifacts import STAGES


def excluded_closure(name):
    """Return a module and the excluded modules that it imports, directly or not."""
    visited, pending = set(), {name}
    while pending:
        visited.add(module := pending.pop())
        pending |= (code._module(module).modules & EXCLUDED.keys()) - visited
    return visited


@pytest.mark.parametrize("name", sorted(EXCLUDED))
def test_excluded_modules_import_none_of_the_libraries(name):
    for module in excluded_closure(name):
        assert not code._module(module).libraries & LIBRARIES.keys(), module


@pytest.mark.parametrize("name", sorted(PLUMBING))
def test_plumbing_imports_only_excluded_modules(name):
    assert code._module(name).modules <= EXCLUDED.keys()


def test_digests_include_tables_and_exclude_files():
    for stage in ("train", "splits", "leaderboard", "comparisons"):
        digests = code_digests([STAGES[stage].module])
        assert "pipeline.core.tables" in digests
        assert "pipeline.core.files" not in digests


def test_leaderboard_digest_excludes_checks_and_decoders():
    digests = code_digests([STAGES["leaderboard"].module])
    assert not any(name.startswith("pipeline.raw.check") for name in digests)
    assert not any(name.startswith(("pipeline.raw.decode", "pipeline.images")) for name in digests)


@pytest.mark.parametrize(
    ("equivalents", "digests", "expected"),
    [
        ({}, {"b": "1", "a": "2"}, {"a": "2", "b": "1"}),
        ({("a", "2"): {"a": "1"}}, {"a": "2", "b": "1"}, {"a": "1", "b": "1"}),
        ({("a", "2"): {"a": "1"}}, {"a": "3"}, {"a": "3"}),  # edited again
        ({("a", "2"): {"a": "1"}, ("a", "3"): {"a": "2"}}, {"a": "3"}, {"a": "1"}),  # twice
        ({("a", "2"): {"a": "1"}, ("new", "1"): {}}, {"a": "2", "new": "1"}, {"a": "1"}),
        ({("a", "2"): {"a": "1", "gone": "1"}}, {"a": "2"}, {"a": "1", "gone": "1"}),
        ({("a", "2"): {"a": "1", "b": "1"}}, {"a": "2", "b": "1"}, {"a": "1", "b": "1"}),
        ({("a", "2"): {"a": "1", "b": "1"}}, {"a": "2", "b": "2"}, {"a": "1", "b": "1+2"}),
    ],
)
def test_equal_modules_are_replaced_by_earlier_ones(equivalents, digests, expected):
    assert resolve_equivalents(digests, equivalents) == expected
    assert list(resolve_equivalents(digests, equivalents)) == sorted(expected)


def test_library_versions_ignore_modules_that_no_longer_exist(monkeypatch):
    module = "pipeline.training.optim"
    monkeypatch.setattr(
        code,
        "_recorded_equivalents",
        lambda: {(module, code._module(module).digest): {"pipeline.gone": "1", module: "0"}},
    )
    digests = code_digests([module])
    assert (digests["pipeline.gone"], digests[module]) == ("1", "0")
    assert library_versions(digests) == library_versions([module])
    assert "torch" in library_versions(digests)


def test_unchanged_modules_are_parsed_once_by_all_processes(tmp_path, monkeypatch):
    parsed, parse, roots = [], code._parse, [STAGES["shard"].module]
    monkeypatch.setattr(code, "_parse", lambda source: parsed.append(source) or parse(source))
    monkeypatch.setattr(code, "_PARSED", tmp_path / "parsed.json")
    monkeypatch.setattr("sys.dont_write_bytecode", False)

    def in_new_process():
        parsed.clear()
        code._cached.cache_clear()
        code._module.cache_clear()
        return code_digests(roots), library_versions(roots)

    first = in_new_process()
    assert len(parsed) == len(first[0]) > 20
    assert in_new_process() == first
    assert not parsed
    (tmp_path / "parsed.json").write_text('{"a": 1}')  # damaged
    assert in_new_process() == first
    assert len(parsed) == len(first[0])
    source = tmp_path / "masks.py"
    source.write_bytes(code._file("pipeline.shards.masks").read_bytes() + b"\nADDED = 1\n")
    find = code._file
    monkeypatch.setattr(code, "_file", lambda name: source if name == "pipeline.shards.masks" else find(name))
    changed = in_new_process()
    assert {name for name in first[0] if first[0][name] != changed[0][name]} == {"pipeline.shards.masks"}
    assert len(parsed) == 1
    code._cached.cache_clear()
    code._module.cache_clear()
