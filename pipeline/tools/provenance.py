"""Provenance of the weights of an experiment: command, code, packages, machine, time.

Only provenance, timings, benchmarks and logs contain times and machines; all other results are
reproducible byte for byte.
"""

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
from pipeline.core.files import read_json
from pipeline.core.manifest import remake_remedy
from pipeline.core.tables import write_json

FORMAT = 2


def describe_run(command: Sequence[str]) -> dict[str, Any]:
    """Describe a run at its start, before code can be edited or packages installed while it computes.

    Parameters
    ----------
    command : sequence of str
        The command line.

    Returns
    -------
    dict
        ``command``, ``started`` (ISO 8601, UTC), ``code`` (`git_state` of the pipeline and of the working folder),
        ``python``, ``packages`` and ``hardware``.
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
    identity: str,
    inputs: Mapping[str, str],
    seeds: Mapping[str, int],
    threads: int,
    precision: str,
    accelerators: Mapping[str, Any],
    origin: Mapping[str, Any] | None = None,
) -> None:
    """Write the provenance of a training run that has just finished.

    Parameters
    ----------
    path : Path
        JSON file.
    run : mapping
        Result of `describe_run` at the start; for a resumed training run, at the last start.
    experiment : str
    identity : str
        The identity of the checkpoint, as in its manifest, or for ``precision: auto`` the identity with the precision
        that it was trained in.
    inputs : mapping of str to str
        Shards used, with the SHA-256 of their raw files.
    seeds : mapping of str to int
        The seed of the experiment and the seeds derived from it.
    threads : int
        Threads of one operation; the last digits of results depend on it.
    precision : {'fp32', 'bf16'}
        The number format of the computations, also where `auto` selected it.
    accelerators : mapping
        GPUs and their libraries.
    origin : mapping, optional
        The weights that it started from: see `pipeline.training.init.describe`.

    Raises
    ------
    OutputError
    """
    training = {"experiment": experiment, "identity": identity, "inputs": inputs, "seeds": seeds}
    training |= {"init": origin} if origin is not None else {}
    hardware = {**run["hardware"], "threads": threads, "precision": precision, **accelerators}
    write_json(path, {**run, **training, "format": FORMAT, "finished": _now(), "hardware": hardware})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_provenance(path: Path) -> dict[str, Any]:
    """Read a file written by `write_provenance`.

    Raises
    ------
    PipelineError
        If the file is missing or of another format.
    """
    try:
        contents: dict[str, Any] = read_json(path)
        if not isinstance(contents, dict) or contents.get("format") != FORMAT:
            raise ValueError("not a provenance file of this version")
        return contents
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        remedy = remake_remedy(path, "name the provenance.json of an experiment", "snakemake models")
        raise PipelineError(str(path), reason, "a provenance.json", remedy) from error


def git_state(file: Path) -> dict[str, Any] | None:
    """Return the git commit of the checkout that contains a file, and the paths that differ from the commit.

    Parameters
    ----------
    file : Path
        A tracked file. For an untracked one the result is None: a package installed inside a checkout is not part
        of it.

    Returns
    -------
    dict or None
        ``commit`` (None before the first one), ``dirty``, and ``changed``: the paths that differ, including untracked
        ones.
    """
    if not file.is_file() or _git(file.parent, "ls-files", "--error-unmatch", "--", file.name) is None:
        return None
    status = _git(file.parent, "status", "--porcelain", "--no-renames", "-z") or ""
    changed = sorted(entry[3:] for entry in status.split("\0") if entry)
    commit = _git(file.parent, "rev-parse", "--verify", "--quiet", "HEAD")
    return {"commit": commit.strip() if commit else None, "dirty": bool(changed), "changed": changed}


def _git(folder: Path, *arguments: str) -> str | None:
    """Return the output of a read-only git command; None if git is missing, fails or takes more than 30 s."""
    try:
        completed = subprocess.run(  # noqa: S603 - no shell
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - the git of the user
            capture_output=True,
            check=True,
            timeout=30,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return completed.stdout.decode("utf-8", "replace")


def packages() -> dict[str, str]:
    """Return the exact versions of all installed packages, by name."""
    distributions = [distribution for distribution in metadata.distributions() if distribution.metadata["Name"]]
    versions = {distribution.metadata["Name"]: distribution.version for distribution in distributions}
    return dict(sorted(versions.items(), key=lambda item: item[0].lower()))


def hardware() -> dict[str, Any]:
    """Describe the machine: system, CPU model, cores (physical, logical, usable by this process), RAM in bytes."""
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
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())
