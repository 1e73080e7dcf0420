import types

import numpy as np
import psutil
import pytest

from pipeline.cli import train
from pipeline.core import memory
from pipeline.core.memory import cgroup_memory_left, peak_memory


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")


@pytest.mark.parametrize(
    ("line", "folder", "limit", "usage"),
    [
        ("0::/slurm/job_7/step_0", "sys/fs/cgroup/slurm", "memory.max", "memory.current"),
        (
            "4:memory:/slurm/job_7/step_0",
            "sys/fs/cgroup/memory/slurm",
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
        ),
    ],
)
def test_the_smallest_remainder_of_all_groups_is_returned(tmp_path, line, folder, limit, usage):
    write(
        tmp_path,
        {
            "proc/self/cgroup": line,
            f"{folder}/job_7/step_0/{limit}": "max",
            f"{folder}/job_7/step_0/{usage}": 1000,
            f"{folder}/job_7/{limit}": 50_000_000,
            f"{folder}/job_7/{usage}": 20_000_000,
            f"{folder}/{limit}": 90_000_000,
            f"{folder}/{usage}": 30_000_000,
        },
    )
    assert cgroup_memory_left(tmp_path) == 30_000_000


@pytest.mark.parametrize(
    ("line", "folder", "limit", "usage", "cache_key"),
    [
        ("0::/job", "sys/fs/cgroup/job", "memory.max", "memory.current", "inactive_file"),
        (
            "4:memory:/job",
            "sys/fs/cgroup/memory/job",
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "total_inactive_file",
        ),
    ],
)
def test_inactive_page_cache_counts_as_free(tmp_path, line, folder, limit, usage, cache_key):
    numbers = {f"{folder}/{limit}": 50_000_000, f"{folder}/{usage}": 45_000_000}
    statistics = f"anon 5000000\nactive_file 7\n{cache_key} 40000000\nunevictable 0"
    write(tmp_path, {"proc/self/cgroup": line, f"{folder}/memory.stat": statistics, **numbers})
    assert cgroup_memory_left(tmp_path) == 45_000_000
    (tmp_path / folder / "memory.stat").write_text("invalid line\n")
    assert cgroup_memory_left(tmp_path) == 5_000_000


@pytest.mark.parametrize("limit", ["max", str(2**63 - 4096)])
def test_no_limit_is_none(tmp_path, limit):
    write(tmp_path, {"proc/self/cgroup": "0::/", "sys/fs/cgroup/memory.max": limit, "sys/fs/cgroup/memory.current": 5})
    assert cgroup_memory_left(tmp_path) is None


def test_a_full_group_has_no_memory_left(tmp_path):
    write(tmp_path, {"proc/self/cgroup": "0::/a", "sys/fs/cgroup/a/memory.max": 5, "sys/fs/cgroup/a/memory.current": 9})
    assert cgroup_memory_left(tmp_path) == 0


def test_a_system_without_control_groups_has_no_limit(tmp_path):
    assert cgroup_memory_left(tmp_path) is None


@pytest.mark.parametrize(
    ("requested", "limit", "processes", "budget"),
    [
        (None, None, 1, None),
        (None, 9_000, 1, 3_000),
        (5, 9_000, 1, 5 * 2**20),
        (5, None, 1, 5 * 2**20),
        (None, 9_000, 3, 1_000),
        (5, None, 5, 2**20),
    ],
)
def test_sample_memory_is_as_requested_or_a_third_of_the_limit(monkeypatch, requested, limit, processes, budget):
    monkeypatch.setattr(memory, "cgroup_memory_left", lambda: limit)
    assert train._sample_memory(requested, processes) == budget


def test_peak_memory_is_in_mb_on_every_system(monkeypatch):
    array = np.ones(200 * 2**17)  # 200 MB
    process = psutil.Process().memory_info().rss / 2**20
    assert 200 <= process <= peak_memory() * 1.02 < 64 * 1024
    assert array.sum() > 0
    usage = types.SimpleNamespace(ru_maxrss=3 * 2**20)
    monkeypatch.setattr(memory.resource, "getrusage", lambda _: usage)
    for system, peak in (("linux", 3 * 2**10), ("darwin", 3)):
        monkeypatch.setattr(memory.sys, "platform", system)
        assert peak_memory() == peak
