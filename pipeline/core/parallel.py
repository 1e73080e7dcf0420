"""Run many small calls in threads and return their results in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def thread_map(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Apply a function to each item in threads, and yield the results in the order of the items.

    Parameters
    ----------
    function : callable
        An exception of it ends the iteration.
    items : iterable
    threads : int
        Number of threads. At most two calls for each thread are pending, so that memory is bounded. With 1, the
        function is called directly.
    """
    if threads == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(max_workers=threads) as pool:
        remaining = iter(items)
        futures = deque(pool.submit(function, item) for item in islice(remaining, 2 * threads))
        while futures:
            yield futures.popleft().result()
            futures.extend(pool.submit(function, item) for item in islice(remaining, 1))
