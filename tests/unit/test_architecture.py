"""Which room may import which: read off the source, so that no import can hide."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "pipeline"
ROOMS = ["raw", "shards", "models", "training", "prediction", "evaluation", "report"]
SHARED = {
    "errors",
    "fingerprint",
    "config_problems",
    "files",
    "memory",
    "paths",
    "provenance",
    "parallel",
    "progress",
    "counts",
    "png",
    "pictures",
    "captions",
    "colours",
}
WITH_TORCH = {"models", "training", "prediction"}
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


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_rooms_import_only_from_rooms_to_their_left(path):
    names = imports(path)
    assert not any(name.split(".")[0] == "snakemake" for name in names)
    room = path.parts[0].removesuffix(".py")
    used = {name.split(".")[1] for name in names if name.startswith("pipeline.")}
    if room.startswith("cli"):
        return
    assert "config" not in used or room in {"config", "config_plans"}
    if room in ROOMS:
        assert used <= {*ROOMS[: ROOMS.index(room) + 1], *SHARED}
        if room not in WITH_TORCH:
            assert not any(name.split(".")[0] == "torch" for name in names)
    if room == "evaluation":
        assert not used & WITH_TORCH
    if room in SHARED:
        assert used <= SHARED


def test_package_files_stay_empty():
    assert all((PACKAGE / path).read_text() == "" for path in MODULES if path.name == "__init__.py")


def test_models_know_nothing_of_files():
    for path in MODULES:
        if path.parts[0] == "models":
            assert not {"pathlib.Path", "os", "h5py"} & imports(path)
