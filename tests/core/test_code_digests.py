"""Which modules count as code that decides results, and what was declared equal."""

import pytest

from pipeline.core import code
from pipeline.core.code import EXCLUDED, LIBRARIES, PLUMBING, code_digests, library_versions, resolve_equivalents
from pipeline.graph.artifacts import STAGES


def left_out_behind(name):
    """Name a module and those that do not count either and that it imports, directly or not."""
    found, waiting = set(), {name}
    while waiting:
        found.add(module := waiting.pop())
        waiting |= (code._module(module).modules & EXCLUDED.keys()) - found
    return found


@pytest.mark.parametrize("name", sorted(EXCLUDED))
def test_what_does_not_count_imports_nothing_that_decides_pixels_weights_or_numbers(name):
    for module in left_out_behind(name):
        assert not code._module(module).libraries & LIBRARIES.keys(), module


@pytest.mark.parametrize("name", sorted(PLUMBING))
def test_nothing_that_counts_hides_behind_plumbing(name):
    assert code._module(name).modules <= EXCLUDED.keys()


def test_how_tables_are_written_counts_and_how_files_are_written_does_not():
    for stage in ("train", "splits", "leaderboard", "comparisons"):
        digests = code_digests([STAGES[stage].module])
        assert "pipeline.core.tables" in digests
        assert "pipeline.core.files" not in digests


def test_the_leaderboard_does_not_depend_on_how_raw_data_are_checked():
    digests = code_digests([STAGES["leaderboard"].module])
    assert not any(name.startswith("pipeline.raw.check") for name in digests)
    assert not any(name.startswith(("pipeline.raw.decode", "pipeline.images")) for name in digests)


@pytest.mark.parametrize(
    ("declared", "digests", "expected"),
    [
        ({}, {"b": "1", "a": "2"}, {"a": "2", "b": "1"}),
        ({("a", "2"): {"a": "1"}}, {"a": "2", "b": "1"}, {"a": "1", "b": "1"}),
        ({("a", "2"): {"a": "1"}}, {"a": "3"}, {"a": "3"}),  # edited again
        ({("a", "2"): {"a": "1"}, ("a", "3"): {"a": "2"}}, {"a": "3"}, {"a": "1"}),  # one on top of another
        ({("a", "2"): {"a": "1"}, ("new", "1"): {}}, {"a": "2", "new": "1"}, {"a": "1"}),
        ({("a", "2"): {"a": "1", "gone": "1"}}, {"a": "2"}, {"a": "1", "gone": "1"}),
        ({("a", "2"): {"a": "1", "b": "1"}}, {"a": "2", "b": "1"}, {"a": "1", "b": "1"}),
        ({("a", "2"): {"a": "1", "b": "1"}}, {"a": "2", "b": "2"}, {"a": "1", "b": "1+2"}),
    ],
)
def test_what_was_declared_equal_counts_as_what_it_stands_for(declared, digests, expected):
    assert resolve_equivalents(digests, declared) == expected
    assert list(resolve_equivalents(digests, declared)) == sorted(expected)


def test_libraries_are_those_of_the_code_that_is_there(monkeypatch):
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
