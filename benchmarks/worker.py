"""A process of its own for each variant: it prepares, waits, and measures when it is its turn.

The child runs `python -m benchmarks.worker MODULE:CLASS ARGUMENTS`, builds the object, and calls its methods as the
parent asks, one line of JSON for each call and each answer. It blocks on standard input in between, without using a
core.
"""

import contextlib
import importlib
import json
import os
import select
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any, Self

from benchmarks.measure import NotRun

ROOT = Path(__file__).parents[1]
LEAN_MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": "8589934592",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
    "MALLOC_TOP_PAD_": "268435456",
}
"""Settings of glibc that keep freed memory in the process; a training step on a CPU allocates the same blocks again."""


class Worker:
    """The parent's side of a process.

    Parameters
    ----------
    target : str
        Class, such as ``"benchmarks.training:Lean"``.
    arguments : dict
        Of the class; JSON.
    environment : dict of str to str
        Added to the environment.
    """

    def __init__(self, target: str, arguments: dict[str, Any], environment: dict[str, str] | None = None) -> None:
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the worker
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", target, json.dumps(arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
        )

    def send(self, method: str, **arguments: Any) -> None:
        """Ask for a call, without waiting for its end."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # `receive` says why
            self.process.stdin.write(json.dumps([method, arguments]) + "\n")
            self.process.stdin.flush()

    def receive(self, timeout: float) -> dict[str, Any]:
        """Return the result of the call that was asked for.

        Raises
        ------
        NotRun
            If the call raised it, or a library is missing.
        RuntimeError
            If the call failed, the process ended, or the time is up; then the process is killed.
        """
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], max(timeout, 0.1))[0]:
            self.close()
            raise RuntimeError(f"no answer within {timeout:.0f} s")
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            raise RuntimeError(f"the process ended with {self.process.returncode}: {self.last_words()}")
        kind, result = json.loads(line)
        if kind == "not run":
            raise NotRun(result)
        if kind == "error":
            raise RuntimeError(result)
        return dict(result or {})

    def call(self, method: str, timeout: float = 600, **arguments: Any) -> dict[str, Any]:
        """Call a method and wait for its result."""
        self.send(method, **arguments)
        return self.receive(timeout)

    def last_words(self) -> str:
        """Return the last line of standard error."""
        self.errors.seek(0)
        return (self.errors.read().strip().splitlines() or ["no message"])[-1][-300:]

    def close(self) -> None:
        """End the process."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        self.errors.close() if not self.errors.closed else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Channel:
    """The child's side: requests from standard input, answers to what was standard output."""

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # what libraries print is no answer

    def receive(self) -> tuple[str, dict[str, Any]]:
        """Wait for the next request; the end of the parent is the end of this process."""
        line = sys.stdin.readline()
        if not line:
            sys.exit(0)
        method, arguments = json.loads(line)
        return method, arguments

    def answer(self, kind: str, result: Any) -> None:
        """Send ``'result'``, ``'not run'`` or ``'error'``."""
        self._answers.write(json.dumps([kind, result]) + "\n")
        self._answers.flush()


def serve(target: str, arguments: dict[str, Any]) -> None:
    """Answer requests until the parent ends."""
    channel, worker = Channel(), None
    while True:
        method, parameters = channel.receive()
        try:
            if worker is None:
                module, _, name = target.partition(":")
                worker = getattr(importlib.import_module(module), name)(**arguments)
                worker.channel = channel
            result = getattr(worker, method)(**parameters)
        except NotRun as reason:
            channel.answer("not run", str(reason))
        except ModuleNotFoundError as error:
            channel.answer("not run", f"{error.name} is not installed")
        except Exception as error:
            traceback.print_exc()
            channel.answer("error", f"{type(error).__name__}: {error}")
        else:
            channel.answer("result", result)


if __name__ == "__main__":
    serve(sys.argv[1], json.loads(sys.argv[2]))
