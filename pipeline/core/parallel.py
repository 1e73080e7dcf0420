"""Do many small jobs at once and keep their order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def thread_map(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Yield what a function makes of each item, in order.

    Parameters
    ----------
    function : callable
        Must not raise what the caller wants to go on after.
    items : iterable
    threads : int
        Calls at a time. Two for each thread are under way at most, so that memory is bounded; 1 calls directly.
    """
    if threads == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(max_workers=threads) as pool:
        waiting = iter(items)
        under_way = deque(pool.submit(function, item) for item in islice(waiting, 2 * threads))
        while under_way:
            yield under_way.popleft().result()
            under_way.extend(pool.submit(function, item) for item in islice(waiting, 1))
