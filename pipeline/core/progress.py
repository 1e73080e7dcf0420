"""Progress for people: a moving bar on a terminal, a line now and then in a log file."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

LOG_INTERVAL = 10.0  # seconds between two lines in a log file

_muted = False


def mute() -> None:
    """Say nothing from now on: this is one of several processes that do the same, and another one speaks."""
    global _muted
    _muted = True


def log(text: str) -> None:
    """Print one line to standard error, at once."""
    if not _muted:
        print(text, file=sys.stderr, flush=True)


def progress_bar(items: Iterable[Item], what: str, total: int) -> Iterator[Item]:
    """Pass `items` through while telling how far they are.

    Parameters
    ----------
    items : iterable
        What is worked on.
    what : str
        What is being done, such as ``"drive test-0: samples"``.
    total : int
        How many items there are.

    Yields
    ------
    object
        Each item, unchanged.
    """
    if sys.stderr.isatty() and not _muted:
        from rich.console import Console
        from rich.progress import track

        yield from track(items, description=what, total=total, console=Console(stderr=True))
        return
    started = said = time.monotonic()
    for done, item in enumerate(items):
        yield item
        now = time.monotonic()
        if now - said >= LOG_INTERVAL and done + 1 < total:
            log(f"{what}: {done + 1} of {total} ({(done + 1) / (now - started):.1f}/s)")
            said = now
    log(f"{what}: {total} in {time.monotonic() - started:.1f} s")
