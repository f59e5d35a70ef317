"""Quick answers to whether a server of weights can be reached; their libraries try for minutes."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from revo_ray.errors import first_line

REQUEST_S = 5.0
"""Seconds that one request may wait for a connection or an answer."""
PATIENCE_S = 10.0
"""Seconds for all of it: looking up a name has no limit of its own."""


def why_unreachable(ask: Callable[[], Any]) -> str | None:
    """Call a function that asks a server; return the cause if no server answers, else None.

    An answer that refuses the request, such as 404, is an answer; one of a server that is down
    (5xx) is none.
    """
    cause: list[str | None] = [f"no answer within {PATIENCE_S:.0f} seconds"]

    def run() -> None:
        try:
            ask()
        except Exception as error:  # each HTTP library has its own
            response = getattr(error, "response", None)
            status = getattr(error, "code", getattr(response, "status_code", None))
            answered = isinstance(status, int) and status < 500
            cause[0] = None if answered else first_line(error)
        else:
            cause[0] = None

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    return cause[0]


def why_no_download(url: str) -> str | None:
    """Return why a file cannot be downloaded from a URL; None if a server answers there."""
    head = urllib.request.Request(url, method="HEAD")

    def ask() -> None:
        with urllib.request.urlopen(head, timeout=REQUEST_S):
            pass

    cause = why_unreachable(ask)
    return cause and f"{urlsplit(url).hostname} cannot be reached: {cause}"
