"""The command line: the same commands that the rules call.

Commands that make a result take ``--config FILE`` (one or several, later ones over earlier ones) and names, and find
their files where the workflow keeps them; or ``--plan JSON``, as the rules pass it, and the files. Both end in the same
call. What a command needs it imports when it runs, so that only training and prediction load torch.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from pipeline.cli import prepare, score, tools, train  # noqa: F401 - they declare the commands
from pipeline.cli.commands import COMMANDS
from pipeline.core.errors import ConfigError, InterruptionError, PipelineError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status.

    0: done. 1: something a person can mend, said on standard error. 2: a mistake in the command or configuration.
    128 and more: a signal.
    """
    words = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="python -m pipeline", description=__doc__)
    group = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_to(group)
    arguments = parser.parse_args(words)
    arguments.command = ["python", "-m", "pipeline", *words]
    try:
        return int(arguments.run(arguments) or 0)
    except PipelineError as error:
        print(error, file=sys.stderr)
        if isinstance(error, InterruptionError):
            return error.status
        return 2 if isinstance(error, ConfigError) else 1
    except BrokenPipeError:  # `... | head`: whoever read has gone, and the interpreter must not try to say more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        print("interrupted; nothing half-written was left under a final name", file=sys.stderr)
        return 130
