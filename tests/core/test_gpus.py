"""Jobs share the GPUs of one machine. The GPUs are names; the processes, their locks and their ends are real."""

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

TWO = ["GPU-aa11", "GPU-bb22"]

JOB = """
import json, os, sys
from pathlib import Path
from pipeline.core.gpus import hold_gpus
folder, count, names = Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
with hold_gpus(count, installed=lambda: names, folder=folder):
    print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
    sys.stdin.read()  # works until it is told to end
"""


@pytest.fixture
def start(tmp_path):
    """How to start a job that holds GPUs until its input ends."""
    jobs = []

    def begin(count=1, names=TWO):
        words = [sys.executable, "-c", JOB, str(tmp_path), str(count), json.dumps(names)]
        clean = {key: value for key, value in os.environ.items() if key not in (gpus.VISIBLE, "SLURM_JOB_ID")}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        jobs.append(subprocess.Popen(words, text=True, env=clean, **pipes))
        return jobs[-1]

    yield begin
    for job in jobs:
        job.kill()
        job.wait()
        for stream in (job.stdin, job.stdout, job.stderr):
            stream.close()


def got(job):
    """Return the GPUs that a job sees, once it has them."""
    return job.stdout.readline().strip().split(",")


def end(job):
    job.stdin.close()
    assert job.wait(timeout=30) == 0


def waits(job):
    """Wait until a job says that it waits."""
    said = job.stderr.readline()
    assert said.startswith("waits for ")
    return said


def test_each_job_has_its_own_gpu_and_the_next_one_waits_for_it(start):
    first, second = start(), start()
    assert sorted(got(first) + got(second)) == TWO
    third = start()
    assert waits(third) == "waits for a GPU: other jobs use, or wait for, the 2 here (GPU-aa11, GPU-bb22)\n"
    end(second)
    assert got(third)[0] in TWO
    assert third.stderr.readline().startswith("on GPU GPU-")
    end(first)
    end(third)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_a_job_that_is_killed_leaves_its_gpu_to_the_next(start, number):
    holder = start(names=TWO[:1])
    assert got(holder) == ["GPU-aa11"]
    waiting = start(names=TWO[:1])
    waits(waiting)
    holder.send_signal(number)
    assert got(waiting) == ["GPU-aa11"]
    assert holder.wait() == -number
    end(waiting)


def test_a_job_that_needs_several_gets_them_in_its_turn(start):
    first, second = start(), start()
    got(first), got(second)
    both = start(count=2)
    assert waits(both).startswith("waits for 2 GPUs: ")
    late = start()
    waits(late)
    end(first)
    time.sleep(2 * gpus._POLL)
    assert late.poll() is None
    end(second)
    assert sorted(got(both)) == TWO
    end(both)
    assert got(late)[0] in TWO
    end(late)


def test_a_job_that_is_killed_while_it_chooses_is_no_obstacle(start):
    first, second = start(), start()
    got(first), got(second)
    both = start(count=2)
    waits(both)
    end(first)
    time.sleep(2 * gpus._POLL)  # it holds one by now, and waits for the other
    both.kill()
    late = start()
    assert got(late)[0] in TWO
    end(late)
    end(second)


def test_without_gpus_nothing_is_done(tmp_path):
    environment = {}
    with hold_gpus(4, environment=environment, installed=list, folder=tmp_path) as held:
        assert held == []
        assert environment == {}
    hidden = {gpus.VISIBLE: ""}
    with hold_gpus(environment=hidden, installed=lambda: TWO, folder=tmp_path) as held:
        assert held == []
        assert hidden == {gpus.VISIBLE: ""}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("before", [None, "1,0"])
def test_the_environment_is_what_it_was_before(tmp_path, before):
    environment = {} if before is None else {gpus.VISIBLE: before}
    known = dict(environment)
    asked = {"environment": environment, "installed": lambda: TWO, "folder": tmp_path}
    with hold_gpus(**asked) as held:
        assert held == [TWO[0] if before is None else TWO[1]]
        assert environment == {gpus.VISIBLE: held[0]}
    assert environment == known
    with pytest.raises(ZeroDivisionError), hold_gpus(**asked):
        1 / 0  # noqa: B018
    assert environment == known


@pytest.mark.parametrize(
    ("said", "visible"),
    [
        (None, TWO),
        ("0", TWO[:1]),
        ("1,0", TWO[::-1]),
        (" 1 , 1", TWO[1:]),
        ("GPU-bb22", TWO[1:]),
        ("GPU-b", TWO[1:]),
        ("MIG-1234", ["MIG-1234"]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("0,-1,1", TWO[:1]),
        ("0,7,1", TWO[:1]),
        ("GPU-", []),
        ("GPU-ff,0", []),
    ],
)
def test_cuda_visible_devices_is_read_as_cuda_reads_it(said, visible):
    assert visible_gpus(said, TWO) == visible
    assert visible_gpus(said, []) == []


def test_a_slurm_job_keeps_what_it_got_and_divides_what_is_more(tmp_path):
    given = {"SLURM_JOB_ID": "7", gpus.VISIBLE: "1"}
    with hold_gpus(environment=given, installed=lambda: TWO, folder=tmp_path) as held:
        assert held == ["GPU-bb22"]
        assert given[gpus.VISIBLE] == "1"
    assert not list(tmp_path.iterdir())
    allocation = {"SLURM_JOB_ID": "7", gpus.VISIBLE: "0,1"}
    with hold_gpus(environment=allocation, installed=lambda: TWO, folder=tmp_path):
        assert allocation[gpus.VISIBLE] == "GPU-aa11"


def test_more_gpus_than_there_are_is_refused(tmp_path):
    visible = {gpus.VISIBLE: "0"}
    with (
        pytest.raises(TrainingError, match=r"1 \(GPU-aa11\), as CUDA_VISIBLE_DEVICES says\n.*2, as the experiment"),
        hold_gpus(2, environment=visible, installed=lambda: TWO, folder=tmp_path),
    ):
        pytest.fail("it began")


def test_gpus_are_listed_by_what_the_driver_brings(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert installed_gpus() == []
    asked = "--query-gpu=uuid --format=csv,noheader"
    program.write_text(f'#!/bin/sh\n[ "$*" = "{asked}" ] && echo GPU-aa11 && echo GPU-bb22\n')
    program.chmod(0o755)
    assert installed_gpus() == TWO
    program.write_text("#!/bin/sh\necho NVIDIA-SMI has failed because it could not reach the driver\nexit 9\n")
    assert installed_gpus() == []


def test_a_disk_without_locks_is_told(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refused)
    held = hold_gpus(environment={}, installed=lambda: TWO, folder=tmp_path)
    with pytest.raises(OutputError, match="set TMPDIR"), held:
        pass


def test_a_folder_of_somebody_else_is_not_used(tmp_path, monkeypatch):
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
