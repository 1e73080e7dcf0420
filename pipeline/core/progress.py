"""Progress: a bar on a terminal, periodic lines in a log file."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from pipeline.core.errors import printable

Item = TypeVar("Item")

LOG_INTERVAL = 10.0  # seconds between two lines in a log file

_muted = False


def mute() -> None:
    """Disable logs and progress bars in this process, because another process of the same job writes them."""
    global _muted
    _muted = True


def log(text: str) -> None:
    """Print one line to standard error and flush it; control characters of file names are escaped."""
    if not _muted:
        print(printable(text, keep="\n\t"), file=sys.stderr, flush=True)


def progress_bar(items: Iterable[Item], description: str, total: int) -> Iterator[Item]:
    """Yield `items` and show progress.

    Parameters
    ----------
    items : iterable
    description : str
        Description of the task, such as ``"drive test-0: samples"``.
    total : int
        Number of items.

    Yields
    ------
    object
        Each item, unchanged.
    """
    if sys.stderr.isatty() and not _muted:
        from rich.console import Console
        from rich.progress import track

        yield from track(items, description=description, total=total, console=Console(stderr=True))
        return
    start = last_log = time.monotonic()
    for index, item in enumerate(items):
        yield item
        now = time.monotonic()
        if now - last_log >= LOG_INTERVAL and index + 1 < total:
            log(f"{description}: {index + 1} of {total} ({(index + 1) / (now - start):.1f}/s)")
            last_log = now
    log(f"{description}: {total} in {time.monotonic() - start:.1f} s")
