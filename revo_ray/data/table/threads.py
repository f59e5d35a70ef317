"""All cores in one process: Pillow, hashing and reading let go of the interpreter lock."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

Progress = Callable[[int, int], None]
"""Called with the number of images done, from 0 on, and the number of all images."""


def usable_cores() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


AHEAD_BYTES = 2**30
"""Memory of the squares that are decoded and not used yet."""


def squares_ahead(size: int) -> int:
    """Number of squares of a side that `AHEAD_BYTES` hold, at four bytes a pixel."""
    return max(1, AHEAD_BYTES // (4 * size**2))


def in_order(
    function: Callable[[T], R], items: Iterable[T], ahead: int | None = None
) -> Generator[R, None, None]:
    """Call a function with each item in threads; yield the results in order.

    It runs at most three items a thread, and at most `ahead` items, ahead of its consumer, and it
    yields all results before the first exception; `joblib.Parallel(return_as="generator")` does
    neither. There is one thread more than cores, since a thread waits now and then for a disk or
    for the interpreter's lock.
    Close a generator that is left early (`contextlib.closing`), which ends the threads.
    """
    threads = usable_cores() + 1
    most = min(3 * threads, ahead or 3 * threads)
    pending: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) >= most:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def decode_all(
    decode: Callable[[T], R], images: Sequence[T], progress: Progress | None, size: int
) -> Generator[R, None, None]:
    """Yield what `decode` returns for each image, in order, from all cores; report the progress.

    `size` is the side of the squares that it returns.
    """
    report = progress or (lambda done, total: None)
    report(0, len(images))
    results = in_order(decode, images, squares_ahead(size))
    # Pillow warns of odd metadata.
    with warnings.catch_warnings(action="ignore"), closing(results):
        for done, result in enumerate(results, start=1):
            yield result
            report(done, len(images))
