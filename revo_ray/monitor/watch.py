"""`revo-ray watch`: the status of a search or a study that runs elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console

from revo_ray.monitor.live import LiveLines
from revo_ray.monitor.terminal import say
from revo_ray.monitor.watched import View, Watched, missing_text, open_watched
from revo_ray.storage import Storage


def watch(
    directory: str,
    console: Console,
    *,
    once: bool = False,
    every: float = 2.0,
    unread: Callable[[], bool] = lambda: False,
) -> None:
    """Show the status of a search or a study until it is done.

    On a terminal the lines are drawn again in place; elsewhere a line is printed when something
    has changed.

    Args:
        directory: path or URI of the run directory; it need not exist yet.
        console: the console to write to.
        once: print the status once and end.
        every: seconds between two looks.
        unread: whether nobody reads the console any more; then it ends.

    Raises:
        UserError: there can be no search at that place.
        OSError: the storage cannot be reached.
    """
    storage = Storage(directory)
    seen = open_watched(storage)
    if once:
        say(console, missing_text(storage)) if seen is None else _print(seen.look(), console)
        return
    if seen is None:
        say(console, f"{missing_text(storage)}; waiting for one")
    while seen is None:
        time.sleep(every)
        if unread():
            return
        seen = open_watched(storage)
    _follow(seen, console, every, unread)


def _print(view: View, console: Console) -> None:
    for line in (view.first, *view.more):
        if line:
            say(console, line)


def _follow(seen: Watched, console: Console, every: float, unread: Callable[[], bool]) -> None:
    view = seen.look()
    said, complained = "", False
    live = LiveLines(console, view.total)
    try:
        while True:
            live.update(view.done, view.first, view.more)
            if not live.shown and view.plain != said:
                said = view.plain
                say(console, said)
            if view.finished or unread():
                break
            time.sleep(every)
            try:
                view, complained = seen.look(), False
            except OSError as error:
                if not complained:
                    say(console, f"{error}; trying again")
                complained = True
    finally:
        live.close()
    if console.is_terminal:
        _print(view, console)
