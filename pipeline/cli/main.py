"""The command line: people and the rules of the workflow run the same commands.

With ``--config``, a command finds its files under ``results/``; the rules pass ``--plan`` and the files instead. A
command imports its modules when it runs, so that only training and prediction load torch.
"""

import errno
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from pipeline.cli.parser import parse
from pipeline.core.errors import ConfigError, InterruptionError, PipelineError
from pipeline.core.files import output_problem


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status.

    0: done. 1: an error that a person can correct, described on standard error. 2: a mistake in the command or
    configuration. 128 and more: a signal. An error number, such as 28 (``ENOSPC``): why the
    description could not be written.
    """
    words = sys.argv[1:] if argv is None else argv
    arguments = parse(words)
    arguments.command = ["python", "-m", "pipeline", *words]
    try:
        status = int(arguments.run(arguments) or 0)
        if sys.stdout is not None:
            sys.stdout.flush()
        return status
    except PipelineError as error:
        if isinstance(error, InterruptionError):
            return _report(error, error.status)
        return _report(error, 2 if isinstance(error, ConfigError) else 1)
    except (
        BrokenPipeError
    ):  # the reader of `... | head` has closed the pipe; the interpreter must not write to it again
        _discard_output(sys.stdout)
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise
        _discard_output(sys.stdout)  # `... > FILE` on a full disk
        return _report(output_problem(Path("standard output"), error), 1)
    except MemoryError:
        return _report("too little memory: use fewer threads, smaller images or batches, or another machine", 1)
    except KeyboardInterrupt:
        return _report("interrupted; no incomplete file was left under its final name", 130)


def _report(problem: PipelineError | str, status: int) -> int:
    """Print what stopped a command; return the exit status, or why it could not be printed.

    The log of a job may be on the disk that is full. The exit status then is all that the job can say.
    """
    try:
        print(problem, file=sys.stderr)
        return status
    except OSError as error:
        _discard_output(sys.stderr)
        return max(status, error.errno or 0)  # that of a signal, 128 and more, stays


def _discard_output(stream: TextIO) -> None:
    """Discard what was not yet written to a stream: the interpreter would try again at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
