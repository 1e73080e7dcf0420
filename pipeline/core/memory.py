"""How much main memory this process took, and what is left to it where a cluster or a container limits it."""

import resource
import sys
from pathlib import Path

import psutil

# where control groups lie, the file with their limit, the file with what is taken of it, and of that what is given back
# when it is needed, by its name in memory.stat: contents of files that were read once
VERSION_1 = ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
VERSION_2 = ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file")


def peak_memory() -> float:
    """Return the most main memory that this process has held so far, in MB of 2^20 bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # macOS counts bytes, Linux kilobytes


def cgroup_memory_left(root: Path = Path("/")) -> int | None:
    """Return how many bytes the control groups of this process leave to it, or None where they limit nothing.

    A job that takes more is killed, however much the machine has. Contents of files that were read once count as free,
    as the system drops them before it kills: without that, whoever reads its shards would have used up its memory.

    Parameters
    ----------
    root : Path
        Where ``proc`` and ``sys`` are.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    left = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        base, limit, taken, dropped = VERSION_1 if controllers else VERSION_2
        below = Path(group).relative_to("/")
        for part in (below, *below.parents):
            folder = root / base / part
            allowed, used = _number(folder / limit), _number(folder / taken)
            if allowed is not None and used is not None and allowed < psutil.virtual_memory().total:
                left.append(max(0, allowed - max(0, used - _cached(folder / "memory.stat", dropped))))
    return min(left, default=None)


def _cached(path: Path, name: str) -> int:
    """Read how many bytes of a group a file tells under a name; 0 where it does not."""
    try:
        told = dict(line.split() for line in path.read_text(encoding="utf-8").splitlines())
        return int(told.get(name, 0))
    except (OSError, ValueError):
        return 0


def _number(path: Path) -> int | None:
    """Read a number of bytes; None where there is none, such as where the limit is ``max``."""
    try:
        return int(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
