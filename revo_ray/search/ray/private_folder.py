"""The folder of an embedded Ray, which no other user of the machine can enter.

Ray's own choice is `/tmp/ray`, where it lets everybody read and write: logs, sockets, and the link
to the latest session.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from revo_ray.errors import UserError

PREFIX = "rr-"
SESSIONS = "r"
"""The folder below, which Ray itself opens to all. Short names leave room for those of sockets."""

PATHS = re.compile(rf"/{PREFIX}[^/]{{8}}/{SESSIONS}(?=/|$)")
"""Found in each path below such a folder."""

SOCKET = "/rr-12345678/r/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store"
LONGEST = 107 - len(SOCKET)
"""Bytes of a path below which the sockets of a Ray have paths of 107 bytes at most."""

_log = logging.getLogger(__name__)


class StartError(UserError):
    """Ray did not start, or could not be joined."""


@contextmanager
def private_folder() -> Iterator[str]:
    """Make a folder for the session of one Ray, and delete it afterwards.

    It lies in RAY_TMPDIR or, without one, in the temporary folder, or in `/tmp` if the path of that
    one is too long. If Ray or the search fails, the folder stays, with Ray's logs, until the next
    Ray starts.

    Yields:
        the path to give to Ray.

    Raises:
        UserError: no folder can be made.
    """
    place = _place()
    try:
        os.makedirs(place, exist_ok=True)
        _delete_abandoned(place)
        folder = tempfile.mkdtemp(prefix=PREFIX, dir=place)
        held = _hold(folder)
        sessions = os.path.join(folder, SESSIONS)
        os.mkdir(sessions)
    except OSError as error:
        raise UserError(
            f"Ray cannot make a folder in {place} ({error.strerror}); set RAY_TMPDIR to another"
        ) from None
    kept = False
    try:
        yield sessions
    except Exception as error:
        mistaken = isinstance(error, UserError) and not isinstance(error, StartError)
        kept = not mistaken and bool(os.listdir(sessions))
        raise
    finally:
        if kept:
            _log.warning("Ray's logs are in %s until the next search", folder)
        else:
            shutil.rmtree(folder, ignore_errors=True)
        if held is not None:
            os.close(held)


def _place() -> str:
    if place := os.environ.get("RAY_TMPDIR"):
        return os.path.abspath(place)
    place = tempfile.gettempdir()
    return place if len(os.fsencode(place)) <= LONGEST else "/tmp"


def _hold(folder: str) -> int | None:
    """Lock a folder for as long as this process lives; None if it is locked, or cannot be."""
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        return None
    return held


def _delete_abandoned(place: str) -> None:
    """Delete the folders of this user's processes that have ended or were killed."""
    for folder in Path(place).glob(f"{PREFIX}????????"):
        with suppress(OSError):
            status = folder.lstat()
            ours = status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) == 0o700
            # It is locked before it gets the folder below.
            if not ours or os.listdir(folder) != [SESSIONS]:
                continue
            held = _hold(str(folder))
            if held is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(held)
