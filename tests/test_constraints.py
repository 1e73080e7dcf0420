"""`constraints.txt` says the version of all that `make install` pulls in."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


def required(requirement):
    """Yield what an installed package asks for on this machine, with the extras that are wanted of it."""
    for text in importlib.metadata.distribution(requirement.name).requires or []:
        inner = Requirement(text)
        if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in ("", *requirement.extras)):
            yield inner


def test_every_package_that_is_installed_has_a_version():
    pinned = set(
        map(canonicalize_name, re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(name for extra in project["optional-dependencies"].values() for name in extra)]
    waiting, seen, free = [Requirement(text) for text in asked], set(), set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name.startswith(("cuda-", "nvidia-", "triton")):
            continue  # the PyTorch for CPUs that everything was tested with has none of them
        if name not in pinned:
            free.add(name)
        if (name, *sorted(requirement.extras)) not in seen:
            seen.add((name, *sorted(requirement.extras)))
            waiting += required(requirement)
    assert len(seen) > 60
    assert not free
