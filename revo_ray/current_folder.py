"""Takes the current folder off Python's path, before a command imports any library.

This module imports nothing that the interpreter has not loaded at its start, and so does all that
is imported before it: the current folder may hold a `typing.py`.
"""

import os
import sys


def leave_out_current_folder() -> None:
    """Keep this process, and those that it starts, from importing modules of the current folder.

    `python -m` puts that folder first on the path; an empty entry in `PYTHONPATH` means it too.
    A checkout from which this very code runs stays.
    """
    checkout = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if is_current(checkout):
        return
    if is_current(sys.path[0]):
        del sys.path[0]
    if "PYTHONPATH" not in os.environ:
        return
    entries = os.environ["PYTHONPATH"].split(os.pathsep)
    kept = [_absolute(entry) for entry in entries if not is_current(entry)]
    if len(kept) < len(entries):
        place = next((place for place, entry in enumerate(sys.path) if is_current(entry)), None)
        if place is not None:
            del sys.path[place]
    if kept:
        os.environ["PYTHONPATH"] = os.pathsep.join(kept)
    else:
        del os.environ["PYTHONPATH"]


def is_current(entry: str | os.PathLike[str]) -> bool:
    """Whether an entry of Python's path is the current folder; an empty one means it."""
    try:
        return os.path.samefile(entry or os.curdir, os.curdir)
    except OSError:
        return not entry


def _absolute(entry: str) -> str:
    try:
        return os.path.abspath(entry)
    except OSError:  # the current folder is deleted
        return entry
