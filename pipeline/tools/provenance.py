"""How the weights of an experiment came to be: command, code, packages, machine, time.

What differs from run to run and from machine to machine stands here, in timings, benchmarks and logs, and in no other
result: those are the same bytes wherever they are made.
"""

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

import pipeline
from pipeline.core.errors import PipelineError
from pipeline.core.tables import write_json

FORMAT = 1


def describe_run(command: Sequence[str]) -> dict[str, Any]:
    """Describe a run as it begins: what is edited or installed while it computes is no part of it.

    Parameters
    ----------
    command : sequence of str
        The words that were typed, or that a rule typed.

    Returns
    -------
    dict
        ``command``, ``started`` (ISO 8601, UTC), ``code`` (see `git_state`; of the pipeline and of the folder that it
        works in), ``python``, ``packages`` and ``hardware``.
    """
    package = Path(pipeline.__file__).parent
    return {
        "command": list(command),
        "started": _now(),
        "code": {"pipeline": git_state(package / "__init__.py"), "working_folder": git_state(Path("config.yaml"))},
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": packages(),
        "hardware": hardware(),
    }


def write_provenance(
    path: Path,
    run: Mapping[str, Any],
    *,
    experiment: str,
    fingerprint: str,
    inputs: Mapping[str, str],
    seeds: Mapping[str, int],
    threads: int,
    accelerators: Mapping[str, Any],
) -> None:
    """Write down how an experiment was trained, as it has just been.

    Parameters
    ----------
    path : Path
        JSON file.
    run : mapping
        What `describe_run` said at the beginning; of a training that went on after a kill, when it went on.
    experiment : str
    fingerprint : str
        Digest of all that the result depends on: the identity in the manifest beside it.
    inputs : mapping of str to str
        Each shard that it read, with the SHA-256 of the raw files in it.
    seeds : mapping of str to int
        The experiment's seed and those derived from it.
    threads : int
        Of one operation; results depend on it in the last digits.
    accelerators : mapping
        GPUs and their libraries.

    Raises
    ------
    OutputError
    """
    about = {"experiment": experiment, "fingerprint": fingerprint, "inputs": inputs, "seeds": seeds}
    hardware = {**run["hardware"], "threads": threads, **accelerators}
    write_json(path, {**run, **about, "format": FORMAT, "finished": _now(), "hardware": hardware})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_provenance(path: Path) -> dict[str, Any]:
    """Read what `write_provenance` wrote.

    Raises
    ------
    PipelineError
        If the file is missing or is something else.
    """
    try:
        contents: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(contents, dict) or contents.get("format") != FORMAT:
            raise ValueError("another format")
        return contents
    except (OSError, ValueError) as error:
        found, remedy = " ".join(str(error).split()), "delete it and run `snakemake models`"
        raise PipelineError(str(path), found, "a provenance.json", remedy) from error


def git_state(file: Path) -> dict[str, Any] | None:
    """Tell the git commit that a file belongs to, and whether anything in its checkout differs from it.

    Parameters
    ----------
    file : Path
        A file that git tracks, else there is nothing to tell: a package installed below somebody's checkout is not
        part of it.

    Returns
    -------
    dict or None
        ``commit`` (None before the first one), ``dirty``, and ``changed``: the paths that differ, untracked ones
        included.
    """
    if not file.is_file() or _git(file.parent, "ls-files", "--error-unmatch", "--", file.name) is None:
        return None
    changed = _git(file.parent, "status", "--porcelain", "--no-renames", "-z") or ""
    names = sorted(entry[3:] for entry in changed.split("\0") if entry)
    commit = _git(file.parent, "rev-parse", "--verify", "--quiet", "HEAD")
    return {"commit": commit.strip() if commit else None, "dirty": bool(names), "changed": names}


def _git(folder: Path, *words: str) -> str | None:
    """Ask git, changing nothing; None where it is not installed, knows nothing of the folder or takes too long."""
    try:
        answer = subprocess.run(  # noqa: S603 - no shell
            ["git", "-C", str(folder), *words],  # noqa: S607 - the git that the person uses
            capture_output=True,
            check=True,
            timeout=30,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.decode("utf-8", "replace")


def packages() -> dict[str, str]:
    """Return every installed package with its exact version, by name."""
    found = {one.metadata["Name"]: one.version for one in metadata.distributions() if one.metadata["Name"]}
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def hardware() -> dict[str, Any]:
    """Describe the machine: system, CPU model, cores (physical, logical, those this process may use), RAM in bytes."""
    return {
        "system": platform.platform(),
        "cpu": _cpu_model(),
        "cores": psutil.cpu_count(logical=False),
        "logical_cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
