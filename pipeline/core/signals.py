"""Signals that ask a process to end."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""Ctrl-C, what cluster managers send before they kill, and what they can be asked to send earlier."""


@contextmanager
def handle_signals(handle: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Let a function handle `SIGNALS` inside the block; not outside of the main thread, which alone gets them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda sent, _: handle(signal.Signals(sent))) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
