"""Imports between packages, read from the source files."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "pipeline"
PACKAGES = (
    *("core", "images", "raw", "shards", "models", "training", "prediction", "evaluation", "bundle", "tools", "report"),
    *("config", "graph", "cli"),
)
"""Each package may import from itself and from the packages before it."""

TORCH_PACKAGES = {"models", "training", "prediction", "bundle"}
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def imports(path):
    names = set()
    for node in ast.walk(ast.parse((PACKAGE / path).read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} uses a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", [path for path in MODULES if len(path.parts) > 1], ids=str)
def test_packages_import_only_from_earlier_packages(path):
    names = imports(path)
    package = path.parts[0]
    used = {name.split(".")[1] for name in names if name.startswith("pipeline.")}
    assert used <= {*PACKAGES[: PACKAGES.index(package) + 1]}
    assert not any(name.split(".")[0] == "snakemake" for name in names)
    if package not in {*TORCH_PACKAGES, "tools", "cli"}:
        assert not any(name.split(".")[0] == "torch" for name in names)
    if package == "evaluation":
        assert not used & TORCH_PACKAGES


def test_all_packages_are_listed_at_most_four_modules_have_none():
    assert {path.parts[0] for path in MODULES if len(path.parts) > 1} == {*PACKAGES}
    assert sum(len(path.parts) == 1 for path in MODULES) <= 4


def test_init_files_are_empty():
    assert all((PACKAGE / path).read_text() == "" for path in MODULES if path.name == "__init__.py")


def test_models_do_not_access_files():
    for path in MODULES:
        if path.parts[0] == "models":
            assert not {"pathlib.Path", "os", "h5py"} & imports(path)


def lines_of_code(function, source):
    """Count the lines of a function without docstring, comments and blank lines."""
    first = function.body[0]
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    lines = set(range(function.lineno, function.end_lineno + 1))
    lines -= set(range(first.lineno, first.end_lineno + 1)) if is_docstring else set()
    return sum(bool(text := source[number - 1].strip()) and not text.startswith("#") for number in lines)


def test_no_function_has_more_than_80_lines_of_code():
    too_long = {}
    for path in MODULES:
        text = (PACKAGE / path).read_text()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and (count := lines_of_code(node, text.splitlines())) > 80:
                too_long[f"{path} {node.name}"] = count
    assert not too_long


MAY_SAY_DELETE = {"core/manifest.py", "shards/integrity.py", "training/state_saver.py"}
"""Modules that first make sure that the pipeline wrote the file; see `pipeline.core.manifest.remake_remedy`."""


def test_messages_do_not_advise_to_delete_files_of_users():
    advice = re.compile(r"\bdelete\b|\brm -|remove (?:it|them|the|this|all but one)[^`]*\b(?:file|folder|image|mask)")
    offending = []
    for path in MODULES:
        tree = ast.parse((PACKAGE / path).read_text())
        texts = {
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        texts -= {node.value.value for node in ast.walk(tree) if is_text_statement(node)}  # docstrings
        offending += [(str(path), text) for text in texts if advice.search(text) and str(path) not in MAY_SAY_DELETE]
    assert not offending


def is_text_statement(node):
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
