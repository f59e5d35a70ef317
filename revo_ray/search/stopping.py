"""SIGINT and SIGTERM as a request to stop where the run stands."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from revo_ray.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)

_installed = False


@contextmanager
def stopping_on_signals() -> Iterator[None]:
    """Turn the first signal into `Interrupted`, and ignore those that follow it until the end.

    Every finished row is on disk already, so there is nothing to save, also where Ray's own
    shutdown puts SIGTERM back and a second one ends the process at once. Inside another use of it,
    and in a thread, where Python allows no handlers, it does nothing.
    """
    global _installed
    if _installed or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    _installed = True
    listen()
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted(str(error)) from None  # Ray may have made a plain one of ours
    finally:
        _installed = False
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)  # None: not set from Python


def listen() -> None:
    """Take the handlers back, from a library that set its own; only inside the above."""
    if _installed and threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            signal.signal(number, _stop)


def _stop(number: int, frame: Any) -> None:
    for each in SIGNALS:  # the second one must not stop the stop
        signal.signal(each, signal.SIG_IGN)
    raise Interrupted(signal.Signals(number).name)
