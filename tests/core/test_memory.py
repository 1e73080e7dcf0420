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
    ("line", "folder", "limit", "taken"),
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
def test_the_tightest_group_above_a_process_counts(tmp_path, line, folder, limit, taken):
    write(
        tmp_path,
        {
            "proc/self/cgroup": line,
            f"{folder}/job_7/step_0/{limit}": "max",
            f"{folder}/job_7/step_0/{taken}": 1000,
            f"{folder}/job_7/{limit}": 50_000_000,
            f"{folder}/job_7/{taken}": 20_000_000,
            f"{folder}/{limit}": 90_000_000,
            f"{folder}/{taken}": 30_000_000,
        },
    )
    assert cgroup_memory_left(tmp_path) == 30_000_000


@pytest.mark.parametrize(
    ("line", "folder", "limit", "taken", "dropped"),
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
def test_files_that_were_read_take_no_memory(tmp_path, line, folder, limit, taken, dropped):
    numbers = {f"{folder}/{limit}": 50_000_000, f"{folder}/{taken}": 45_000_000}
    said = f"anon 5000000\nactive_file 7\n{dropped} 40000000\nunevictable 0"
    write(tmp_path, {"proc/self/cgroup": line, f"{folder}/memory.stat": said, **numbers})
    assert cgroup_memory_left(tmp_path) == 45_000_000
    (tmp_path / folder / "memory.stat").write_text("something else altogether\n")
    assert cgroup_memory_left(tmp_path) == 5_000_000


@pytest.mark.parametrize("limit", ["max", str(2**63 - 4096)])
def test_no_limit_is_none(tmp_path, limit):
    write(tmp_path, {"proc/self/cgroup": "0::/", "sys/fs/cgroup/memory.max": limit, "sys/fs/cgroup/memory.current": 5})
    assert cgroup_memory_left(tmp_path) is None


def test_a_group_that_is_full_leaves_nothing(tmp_path):
    write(tmp_path, {"proc/self/cgroup": "0::/a", "sys/fs/cgroup/a/memory.max": 5, "sys/fs/cgroup/a/memory.current": 9})
    assert cgroup_memory_left(tmp_path) == 0


def test_where_there_are_no_groups(tmp_path):
    assert cgroup_memory_left(tmp_path) is None


@pytest.mark.parametrize(
    ("given", "limited", "processes", "budget"),
    [
        (None, None, 1, None),
        (None, 9_000, 1, 3_000),
        (5, 9_000, 1, 5 * 2**20),
        (5, None, 1, 5 * 2**20),
        (None, 9_000, 3, 1_000),
        (5, None, 5, 2**20),
    ],
)
def test_samples_fill_what_was_said_or_a_third_of_what_a_job_may_take(monkeypatch, given, limited, processes, budget):
    monkeypatch.setattr(memory, "cgroup_memory_left", lambda: limited)
    assert train._sample_memory(given, processes) == budget


def test_the_peak_is_in_megabytes_on_every_system(monkeypatch):
    held = np.ones(200 * 2**17)  # 200 MB
    process = psutil.Process().memory_info().rss / 2**20
    assert 200 <= process <= peak_memory() * 1.02 < 64 * 1024
    assert held.sum() > 0
    usage = types.SimpleNamespace(ru_maxrss=3 * 2**20)
    monkeypatch.setattr(memory.resource, "getrusage", lambda _: usage)
    for system, peak in (("linux", 3 * 2**10), ("darwin", 3)):
        monkeypatch.setattr(memory.sys, "platform", system)
        assert peak_memory() == peak
