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

from pipeline.cli.parser import parse
from pipeline.core.errors import ConfigError, InterruptionError, PipelineError
from pipeline.core.files import output_problem


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status.

    0: done. 1: an error that a person can correct, described on standard error. 2: a mistake in the command or
    configuration. 128 and more: a signal.
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
        print(error, file=sys.stderr)
        if isinstance(error, InterruptionError):
            return error.status
        return 2 if isinstance(error, ConfigError) else 1
    except (
        BrokenPipeError
    ):  # the reader of `... | head` has closed the pipe; the interpreter must not write to it again
        _discard_output()
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise
        _discard_output()  # `... > FILE` on a full disk
        print(output_problem(Path("standard output"), error), file=sys.stderr)
        return 1
    except MemoryError:
        print("too little memory: use fewer threads, smaller images or batches, or another machine", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; no incomplete file was left under its final name", file=sys.stderr)
        return 130


def _discard_output() -> None:
    """Discard what was not yet written to standard output: the interpreter would try again at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
