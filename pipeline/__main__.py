"""Run the command line: ``python -m pipeline COMMAND``."""

import gc
import os
import signal
import sys


def run() -> int:
    """Run one command; return the exit status. Ctrl-C ends the process with one line from the start."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:  # not ignored, as in the background of a script
        signal.signal(signal.SIGINT, _end)
    _speed_up_imports()
    from pipeline.cli.main import main

    gc.enable()
    signal.signal(signal.SIGINT, handler)
    return main()


def _speed_up_imports() -> None:
    """Let pydantic look for no plugins in the metadata of all installed packages, and collect no garbage meanwhile."""
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    gc.disable()


def _end(*_: object) -> None:
    """End the process at once: while modules are imported there is nothing to clean up."""
    os.write(2, b"interrupted\n")
    os._exit(128 + signal.SIGINT)


if __name__ == "__main__":
    sys.exit(run())
