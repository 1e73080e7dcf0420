"""`constraints.txt` pins every package that `make install` installs."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


def required(requirement):
    """Yield the requirements of an installed package on this machine, including those of the requested extras."""
    for text in importlib.metadata.distribution(requirement.name).requires or []:
        dependency = Requirement(text)
        marker = dependency.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *requirement.extras)):
            yield dependency


def test_every_installed_package_is_pinned():
    pinned = set(
        map(canonicalize_name, re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    )
    project, logger = (
        tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"] for folder in ("", "logger")
    )
    direct = [
        *project["dependencies"],
        *logger["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    pending, visited, unpinned = [Requirement(text) for text in direct], set(), set()
    while pending:
        requirement = pending.pop()
        name = canonicalize_name(requirement.name)
        if name.startswith(("cuda-", "nvidia-", "triton")):
            continue  # not installed with PyTorch for CPUs, which the tests use
        if name not in pinned:
            unpinned.add(name)
        if (name, *sorted(requirement.extras)) not in visited:
            visited.add((name, *sorted(requirement.extras)))
            pending += required(requirement)
    assert len(visited) > 60
    assert not unpinned


def test_pytorch_is_not_affected_by_cve_2026_24747():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (torch,) = (line for line in project["dependencies"] if line.startswith("torch>="))
    assert tuple(map(int, torch.removeprefix("torch>=").split("."))) >= (2, 10)
