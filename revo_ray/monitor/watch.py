"""`revo-ray watch`: the status of a search or a study that runs elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console

from revo_ray.monitor.look import End
from revo_ray.monitor.open_watched import missing_text, open_watched
from revo_ray.monitor.terminal import say
from revo_ray.monitor.view import Screen
from revo_ray.monitor.watched import Watched
from revo_ray.storage import Storage


def watch(
    directory: str,
    console: Console,
    *,
    once: bool = False,
    every: float = 2.0,
    unread: Callable[[], bool] = lambda: False,
) -> End | None:
    """Show a search or a study until it has finished, stopped or died.

    On a terminal the lines are drawn again in place. In a log there are lines like those of the
    search itself.

    Args:
        directory: path or URI of the run directory; it need not exist yet.
        console: the console to write to.
        once: print the status once and end.
        every: seconds between two looks.
        unread: whether nobody reads the console any more; then it ends.

    Returns:
        The end of the search or study; None if it was not waited for.

    Raises:
        UserError: there can be no search at that place.
        OSError: the storage cannot be reached.
    """
    storage = Storage(directory)
    seen = open_watched(storage)
    if once:
        if seen is None:
            say(console, missing_text(storage))
        else:
            _show_once(seen, console)
        return None
    if seen is None:
        say(console, f"{missing_text(storage)}; waiting for one")
    while seen is None:
        time.sleep(every)
        if unread():
            return None
        seen = open_watched(storage)
    return _follow(seen, console, every, unread)


def _show_once(seen: Watched, console: Console) -> None:
    look = seen.look()
    say(console, seen.headline)
    for line in (*look.events, look.view.first, *look.view.more):
        if line:
            say(console, line)


def _follow(
    seen: Watched, console: Console, every: float, unread: Callable[[], bool]
) -> End | None:
    look = seen.look()
    say(console, seen.headline)
    screen, complained = Screen(console, look.view, says_first=True), False
    try:
        while True:
            for line in look.events:
                say(console, line)
            if look.end is not None:
                screen.leave(look.view)
                return look.end
            screen.show(look.view)
            if unread():
                return None
            time.sleep(every)
            try:
                look, complained = seen.look(), False
            except OSError as error:
                if not complained:
                    say(console, f"{error}; trying again")
                complained = True
    finally:
        screen.close()
