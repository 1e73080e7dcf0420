"""Run many small calls in threads, or an iterator ahead of its use, and return their results in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
_END = object()
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


def read_ahead(items: Iterable[Item], count: int = 1) -> Iterator[Item]:
    """Yield items while a thread makes the next ones.

    Parameters
    ----------
    items : iterable
        An exception of it ends the iteration.
    count : int
        Items that are made ahead, at most.
    """
    iterator = iter(items)
    with ThreadPoolExecutor(max_workers=1) as pool:
        futures = deque(pool.submit(next, iterator, _END) for _ in range(count))
        while (item := futures.popleft().result()) is not _END:
            futures.append(pool.submit(next, iterator, _END))
            yield item  # type: ignore[misc]  # not `_END`
