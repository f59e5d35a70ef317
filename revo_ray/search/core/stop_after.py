"""`search.stop_after`: ends the searches of one command when its time has passed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from datetime import timedelta

from revo_ray.search.core.state import SearchState


class StopAfter:
    """Stops searches when a time has passed since it was made.

    Args:
        limit: the time; None: never.
        say: told in one line when the time has passed.
    """

    def __init__(self, limit: timedelta | None, say: Callable[[str], None] | None = None) -> None:
        seconds = math.inf if limit is None else limit.total_seconds()
        self._deadline = time.monotonic() + seconds
        self._say = say

    def check(self, states: Iterable[SearchState]) -> None:
        """Stop the searches if the time has passed; call it often."""
        if time.monotonic() < self._deadline:
            return
        self._deadline = math.inf
        for state in states:
            state.stop()
        if self._say is not None:
            self._say("search.stop_after has passed: evaluations that run are given up")
