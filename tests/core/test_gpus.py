"""Concurrent jobs share the GPUs of one machine: simulated GPUs, real processes and locks."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from pipeline.core import gpus
from pipeline.core.errors import OutputError, TrainingError
from pipeline.core.gpus import hold_gpus, installed_gpus, visible_gpus

GPUS = ["GPU-aa11", "GPU-bb22"]

JOB = """
import json, os, sys
from pathlib import Path
from pipeline.core.gpus import hold_gpus
folder, count, names = Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
with hold_gpus(count, installed=lambda: names, folder=folder):
    print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def start(tmp_path):
    """Return a function that starts a job; the job holds GPUs until its standard input is closed."""
    jobs = []

    def start_job(count=1, names=GPUS):
        command = [sys.executable, "-c", JOB, str(tmp_path), str(count), json.dumps(names)]
        environment = {key: value for key, value in os.environ.items() if key not in (gpus.VISIBLE, "SLURM_JOB_ID")}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        jobs.append(subprocess.Popen(command, text=True, env=environment, **pipes))
        return jobs[-1]

    yield start_job
    for job in jobs:
        job.kill()
        job.wait()
        for stream in (job.stdin, job.stdout, job.stderr):
            stream.close()


def visible_to(job):
    """Wait until a job holds its GPUs; return the GPUs that it sees."""
    return job.stdout.readline().strip().split(",")


def end(job):
    job.stdin.close()
    assert job.wait(timeout=30) == 0


def waiting_line(job):
    """Return the log line of a job that waits for a GPU."""
    line = job.stderr.readline()
    assert line.startswith("waiting for ")
    return line


def test_jobs_have_exclusive_gpus_and_others_wait(start):
    first, second = start(), start()
    assert sorted(visible_to(first) + visible_to(second)) == GPUS
    third = start()
    assert (
        waiting_line(third) == "waiting for a GPU: other jobs use or wait for the visible GPUs (GPU-aa11, GPU-bb22)\n"
    )
    end(second)
    assert visible_to(third)[0] in GPUS
    assert third.stderr.readline().startswith("using GPU GPU-")
    end(first)
    end(third)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_a_killed_job_releases_its_gpu(start, number):
    holder = start(names=GPUS[:1])
    assert visible_to(holder) == ["GPU-aa11"]
    waiting = start(names=GPUS[:1])
    waiting_line(waiting)
    holder.send_signal(number)
    assert visible_to(waiting) == ["GPU-aa11"]
    assert holder.wait() == -number
    end(waiting)


def test_a_job_for_several_gpus_is_not_starved(start):
    first, second = start(), start()
    visible_to(first), visible_to(second)
    pair = start(count=2)
    assert waiting_line(pair).startswith("waiting for 2 GPUs: ")
    late = start()
    waiting_line(late)
    end(first)
    time.sleep(2 * gpus._POLL_INTERVAL)
    assert late.poll() is None
    end(second)
    assert sorted(visible_to(pair)) == GPUS
    end(pair)
    assert visible_to(late)[0] in GPUS
    end(late)


def test_a_job_killed_while_it_waits_releases_the_queue(start):
    first, second = start(), start()
    visible_to(first), visible_to(second)
    pair = start(count=2)
    waiting_line(pair)
    end(first)
    time.sleep(2 * gpus._POLL_INTERVAL)  # it now holds one GPU and waits for the other
    pair.kill()
    late = start()
    assert visible_to(late)[0] in GPUS
    end(late)
    end(second)


def test_without_gpus_nothing_is_locked(tmp_path):
    environment = {}
    with hold_gpus(4, environment=environment, installed=list, folder=tmp_path) as held:
        assert held == []
        assert environment == {}
    hidden = {gpus.VISIBLE: ""}
    with hold_gpus(environment=hidden, installed=lambda: GPUS, folder=tmp_path) as held:
        assert held == []
        assert hidden == {gpus.VISIBLE: ""}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("previous", [None, "1,0"])
def test_the_environment_is_restored(tmp_path, previous):
    environment = {} if previous is None else {gpus.VISIBLE: previous}
    original = dict(environment)
    options = {"environment": environment, "installed": lambda: GPUS, "folder": tmp_path}
    with hold_gpus(**options) as held:
        assert held == [GPUS[0] if previous is None else GPUS[1]]
        assert environment == {gpus.VISIBLE: held[0]}
    assert environment == original
    with pytest.raises(ZeroDivisionError), hold_gpus(**options):
        1 / 0  # noqa: B018
    assert environment == original


@pytest.mark.parametrize(
    ("value", "visible"),
    [
        (None, GPUS),
        ("0", GPUS[:1]),
        ("1,0", GPUS[::-1]),
        (" 1 , 1", GPUS[1:]),
        ("GPU-bb22", GPUS[1:]),
        ("GPU-b", GPUS[1:]),
        ("MIG-1234", ["MIG-1234"]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("0,-1,1", GPUS[:1]),
        ("0,7,1", GPUS[:1]),
        ("GPU-", []),
        ("GPU-ff,0", []),
    ],
)
def test_cuda_visible_devices_is_parsed_like_cuda_does(value, visible):
    assert visible_gpus(value, GPUS) == visible
    assert visible_gpus(value, []) == []


def test_slurm_jobs_lock_only_a_part_of_their_gpus(tmp_path):
    environment = {"SLURM_JOB_ID": "7", gpus.VISIBLE: "1"}
    with hold_gpus(environment=environment, installed=lambda: GPUS, folder=tmp_path) as held:
        assert held == ["GPU-bb22"]
        assert environment[gpus.VISIBLE] == "1"
    assert not list(tmp_path.iterdir())
    allocation = {"SLURM_JOB_ID": "7", gpus.VISIBLE: "0,1"}
    with hold_gpus(environment=allocation, installed=lambda: GPUS, folder=tmp_path):
        assert allocation[gpus.VISIBLE] == "GPU-aa11"


def test_more_gpus_than_visible_are_refused(tmp_path):
    visible = {gpus.VISIBLE: "0"}
    with (
        pytest.raises(
            TrainingError, match=r"1 \(GPU-aa11\), limited by CUDA_VISIBLE_DEVICES\n.*2, the value of `gpus`"
        ),
        hold_gpus(2, environment=visible, installed=lambda: GPUS, folder=tmp_path),
    ):
        pytest.fail("the block was entered")


def test_gpus_are_listed_by_nvidia_smi(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert installed_gpus() == []
    arguments = "--query-gpu=uuid --format=csv,noheader"
    program.write_text(f'#!/bin/sh\n[ "$*" = "{arguments}" ] && echo GPU-aa11 && echo GPU-bb22\n')
    program.chmod(0o755)
    assert installed_gpus() == GPUS
    program.write_text("#!/bin/sh\necho NVIDIA-SMI has failed because it could not reach the driver\nexit 9\n")
    assert installed_gpus() == []


def test_a_file_system_without_locks_is_reported(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refused)
    held = hold_gpus(environment={}, installed=lambda: GPUS, folder=tmp_path)
    with pytest.raises(OutputError, match="set TMPDIR"), held:
        pass


def test_a_lock_folder_of_another_user_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(gpus.tempfile, "gettempdir", lambda: str(tmp_path))
    folder = gpus._lock_folder()
    assert (folder.parent, folder.stat().st_mode & 0o777) == (tmp_path, 0o700)
    assert gpus._lock_folder() == folder
    folder.rename(tmp_path / "aside")
    folder.symlink_to(tmp_path / "aside")
    with pytest.raises(OutputError, match="set TMPDIR"):
        gpus._lock_folder()
    folder.unlink()
    folder.touch()
    with pytest.raises(OutputError, match="set TMPDIR"):
        gpus._lock_folder()
