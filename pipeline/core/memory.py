"""Peak memory of this process, and the memory that remains within the limits of its control groups."""

import gc
import resource
import sys
from pathlib import Path

import psutil

# folder of control groups, file with the limit, file with the usage, and the key in memory.stat of the page cache that
# the kernel reclaims on demand
VERSION_1 = ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
VERSION_2 = ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file")


def collect_garbage_rarely() -> None:
    """Let Python search for garbage seldom, in a process that plans: samples and results live until it ends."""
    gc.set_threshold(50_000, 20, 100)


def peak_memory() -> float:
    """Return the peak resident memory of this process in MB of 2^20 bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # macOS counts bytes, Linux kilobytes


def cgroup_memory_left(root: Path = Path("/")) -> int | None:
    """Return the bytes of memory that the control groups of this process leave to it; None without a limit.

    The kernel kills a job that exceeds the limit, even if the machine has free memory. Inactive page cache counts as
    free, because the kernel reclaims it first; otherwise reading the shards would seem to use up the memory.

    Parameters
    ----------
    root : Path
        Folder with ``proc`` and ``sys``.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    remaining = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        base, limit_file, usage_file, cache_key = VERSION_1 if controllers else VERSION_2
        relative = Path(group).relative_to("/")
        for ancestor in (relative, *relative.parents):
            folder = root / base / ancestor
            limit, usage = _read_bytes(folder / limit_file), _read_bytes(folder / usage_file)
            if limit is not None and usage is not None and limit < psutil.virtual_memory().total:
                remaining.append(max(0, limit - max(0, usage - _read_statistic(folder / "memory.stat", cache_key))))
    return min(remaining, default=None)


def _read_statistic(path: Path, key: str) -> int:
    """Return the value of a key in a cgroup file such as memory.stat, in bytes; 0 if it cannot be read."""
    try:
        statistics = dict(line.split() for line in path.read_text(encoding="utf-8").splitlines())
        return int(statistics.get(key, 0))
    except (OSError, ValueError):
        return 0


def _read_bytes(path: Path) -> int | None:
    """Read a number of bytes; None if the file holds no number, such as ``max`` for no limit."""
    try:
        return int(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
