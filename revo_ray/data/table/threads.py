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
    """What `function` returns for each item, in order, at most three items a thread ahead.

    Unlike `joblib.Parallel(return_as="generator")`, it never runs further ahead of a slow consumer
    than that, and it yields all results before the first exception. There is a thread more than
    cores, for one waits now and then for a disk or for the lock.
    Close it where it is left early (`contextlib.closing`): that ends the threads.
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
