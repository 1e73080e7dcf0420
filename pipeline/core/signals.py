"""Handle signals that ask a process to end."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""Ctrl-C, the signal that cluster managers send before they kill, and one that they can send earlier on request."""


@contextmanager
def handle_signals(handle: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Handle `SIGNALS` by a function inside the block; do nothing outside of the main thread, which alone gets them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, lambda sent, _: handle(signal.Signals(sent))) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
