"""How much main memory is left to this process where a cluster or a container limits it."""

from pathlib import Path

import psutil

# where control groups lie, the file with their limit, the file with what is taken of it
VERSION_1 = ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes")
VERSION_2 = ("sys/fs/cgroup", "memory.max", "memory.current")


def limited_memory(root: Path = Path("/")) -> int | None:
    """Return how many bytes the control groups of this process leave to it, or None where they limit nothing.

    A job that takes more is killed, however much the machine has. File caches count as taken, so that this is a careful
    figure.

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
        base, limit, taken = VERSION_1 if controllers else VERSION_2
        below = Path(group).relative_to("/")
        for part in (below, *below.parents):
            folder = root / base / part
            allowed, used = _number(folder / limit), _number(folder / taken)
            if allowed is not None and used is not None and allowed < psutil.virtual_memory().total:
                left.append(max(0, allowed - used))
    return min(left, default=None)


def _number(path: Path) -> int | None:
    """Read a number of bytes; None where there is none, such as where the limit is ``max``."""
    try:
        return int(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
