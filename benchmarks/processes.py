"""Run commands and report their time and memory.

`measured` runs them below a small process: on Linux the peak memory of a new process starts at that of its parent.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import IO, NamedTuple

from benchmarks.worker import ROOT


class Usage(NamedTuple):
    """What some processes needed.

    Parameters
    ----------
    seconds, cpu : float
        From the start of the first to the end of the last one; processor time of all.
    memory : float
        The largest peak of one process in MB (2^20 bytes).
    outputs : list of str
        Standard output of each.
    """

    seconds: float
    cpu: float
    memory: float
    outputs: list[str]


def measured(
    commands: Sequence[Sequence[str]],
    environment: dict[str, str],
    *,
    jobs: int = 1,
    folder: str | os.PathLike[str] | None = None,
    timeout: float = 600,
) -> Usage:
    """Run commands, `jobs` at a time.

    Raises
    ------
    RuntimeError
        If a command fails, or the time is up.
    """
    words = [sys.executable, "-m", "benchmarks.processes", json.dumps([jobs, *map(list, commands)])]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    try:
        done = subprocess.run(words, cwd=folder, env=variables, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{' '.join(commands[0])[:100]} did not end within {timeout:.0f} s") from error
    if done.returncode:
        raise RuntimeError(f"{' '.join(commands[0])[:100]}: {done.stderr.strip()[-400:]}")
    return Usage(*json.loads(done.stdout))


def run(jobs: int, pending: list[list[str]]) -> Usage:
    """Run commands from this process."""
    outputs, peak, cpu = [], 0.0, 0.0
    running: dict[int, tuple[subprocess.Popen[bytes], IO[bytes]]] = {}
    start = time.perf_counter()
    while pending or running:
        while pending and len(running) < jobs:
            file = tempfile.TemporaryFile()  # noqa: SIM115 - a pipe would stop a process that writes much
            process = subprocess.Popen(pending.pop(0), stdout=file)
            running[process.pid] = process, file
        pid, status, usage = os.wait4(-1, 0)
        process, output = running.pop(pid)
        process.returncode = os.waitstatus_to_exitcode(status)
        with output:
            output.seek(0)
            outputs.append(output.read().decode())
        if process.returncode:
            sys.exit(outputs[-1][-2000:] + f"\nstatus {process.returncode}")
        peak, cpu = max(peak, usage.ru_maxrss / 1024), cpu + usage.ru_utime + usage.ru_stime
    return Usage(time.perf_counter() - start, cpu, peak, outputs)


if __name__ == "__main__":
    jobs, *commands = json.loads(sys.argv[1])
    print(json.dumps(run(jobs, commands)))
