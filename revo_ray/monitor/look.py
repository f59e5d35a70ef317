"""A look at a search or a study that another process runs, and the signs that it still does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from revo_ray.monitor.view import View
from revo_ray.rundir import Evaluation
from revo_ray.rundir.holder import Held, Holder
from revo_ray.storage import Storage

ABSENT = 2
"""Number of looks without a running process after which a search has ended."""
SILENCE = 60.0
"""Fewest seconds without a new row after which a process of another machine counts as dead."""
LONGEST = 4
"""As many times the longest evaluation are waited for, too."""


@dataclass(frozen=True)
class End:
    """The end of a search or a study.

    Attributes:
        text: how it ended.
        complete: whether its budget, or `search.stop_after`, is spent.
        resumable: whether `--resume` goes on.
    """

    text: str
    complete: bool
    resumable: bool


@dataclass(frozen=True)
class Look:
    """One look at a search or a study.

    Attributes:
        view: its lines.
        events: lines about what has happened since the last look.
        end: None while a process runs it.
    """

    view: View
    events: Sequence[str] = ()
    end: End | None = None


BY_TIME = "stopped by search.stop_after"
KILLED = End("stopped or killed before its end: no process runs it", complete=False, resumable=True)


class Watching:
    """Knows whether a process still runs a search or a study.

    Some disks show no machine the locks of another. There a process without a new row for long
    counts as dead.

    Args:
        folder: its folder.
    """

    def __init__(self, folder: Storage) -> None:
        self._holder = Holder(folder)
        self._state: Held = "held"
        self._absent = 0
        self._longest = 0.0
        self._news = time.monotonic()

    def _sense(self) -> None:
        """Look for a process; call it before its files are read, which are final without one."""
        self._state = self._holder.state
        is_there = self._state == "held" or (self._state == "unknown" and not self._is_silent)
        self._absent = 0 if is_there else self._absent + 1

    def _heard(self, rows: Sequence[Evaluation]) -> None:
        """Note the new rows."""
        if rows:
            self._absent = 0 if self._state == "unknown" else self._absent
            self._news = time.monotonic()
            self._longest = max(self._longest, *(row.seconds for row in rows))

    @property
    def _is_silent(self) -> bool:
        return time.monotonic() - self._news > max(SILENCE, LONGEST * self._longest)

    @property
    def _is_left(self) -> bool:
        """Whether no process runs it."""
        return self._absent > 0

    @property
    def _has_ended(self) -> bool:
        """Whether it was left for long enough: a scheduler may just start it again."""
        return self._absent >= ABSENT
