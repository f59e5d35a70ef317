"""All cores in one process: Pillow, hashing and reading let go of the interpreter lock."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def usable_cores() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(function: Callable[[T], R], items: Iterable[T]) -> Generator[R, None, None]:
    """Call a function with each item in threads; yield the results in order.

    It runs at most three items a thread ahead of its consumer, and it yields all results before
    the first exception; `joblib.Parallel(return_as="generator")` does neither. There is one thread
    more than cores, since a thread waits now and then for a disk or for the interpreter's lock.
    Close a generator that is left early (`contextlib.closing`), which ends the threads.
    """
    threads = usable_cores() + 1
    pending: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) >= 3 * threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
