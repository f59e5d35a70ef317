"""SIGINT, SIGTERM and SIGHUP as a request to stop where the run stands."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from revo_ray.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_heard: tuple[int, ...] = ()
"""The signals that are listened to; none outside `stopping_on_signals`."""
_stopping: str | None = None
"""The signal that asked."""


@contextmanager
def stopping_on_signals(*, process_ends: bool = False) -> Iterator[None]:
    """Turn the first signal into `Interrupted`, and ignore those that follow it until the end.

    Every finished row is on disk already, so there is nothing to save. Inside another use of it,
    and in a thread, where Python allows no handlers, it does nothing. A SIGHUP that is ignored,
    as `nohup` has it, stays ignored.

    Args:
        process_ends: after `Interrupted` the process only has its exit status left to give, so
            signals stay ignored.
    """
    global _heard, _stopping
    if _heard or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    if before[signal.SIGHUP] is signal.SIG_IGN:
        del before[signal.SIGHUP]
    _heard, _stopping = tuple(before), None
    _listen()
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted(str(error)) from None  # Ray may have made a plain one of ours
    finally:
        _heard = ()
        if not (_stopping and process_ends):
            for number, handler in before.items():
                signal.signal(number, handler or signal.SIG_DFL)  # None: not set from Python


def stop_if_asked() -> None:
    """Raise `Interrupted` once more where it was lost: Python ignores it in a finaliser, say."""
    if _heard and _stopping is not None:
        raise Interrupted(_stopping)


def listen_anew() -> None:
    """Take the signals back from a Ray that has just started, and handles them in C++."""
    if _heard and threading.current_thread() is threading.main_thread():
        _listen()


def _listen() -> None:
    for number in _heard:
        signal.signal(number, signal.SIG_IGN if _stopping else _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    global _stopping
    if _within_logging(frame):
        threading.Timer(0.01, _again, [number]).start()
        return
    _stopping = signal.Signals(number).name  # the second one must not stop the stop
    _listen()
    raise Interrupted(_stopping)


def _again(number: int) -> None:
    if _heard and _stopping is None:
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, number)  # which also ends a wait


def _within_logging(frame: FrameType | None) -> bool:
    """Whether logging may hold its lock, which it also takes around each fork.

    There Python ignores what is raised, by whatever logging has called too: a signal that came
    during the fork is told in the function that lets go of the lock.
    """
    while frame is not None and frame.f_globals.get("__name__") != "logging":
        frame = frame.f_back
    return frame is not None
