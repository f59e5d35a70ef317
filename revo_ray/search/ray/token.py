"""The token of an embedded Ray, without which nobody joins it."""

from __future__ import annotations

import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from revo_ray.search.ray.internals import read_environment_anew

TOKEN, FILE, MODE = "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"
"""Variables with which a user decides on Ray's token."""


@contextmanager
def asking_for_token() -> Iterator[None]:
    """Let a Ray that starts meanwhile refuse whoever does not show its token.

    It is the user's own, in `~/.ray/auth_token`, which is made here if it is missing: Ray would
    make a file that everybody can read. If the home folder cannot keep it, this process has a token
    of its own. Variables of the user come first: RAY_AUTH_MODE=disabled asks for no token.
    """
    if os.environ.get(MODE, "token").lower() != "token":
        yield
        return
    added = {} if MODE in os.environ else {MODE: "token"}
    if not {TOKEN, FILE} & os.environ.keys() and not _keeps_token():
        added[TOKEN] = _own_token()
    os.environ.update(added)
    read_environment_anew()
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
        read_environment_anew()


@cache
def _own_token() -> str:
    return secrets.token_hex(32)


def _keeps_token() -> bool:
    """Whether the home folder has a token file that this user can read; makes it if it can."""
    try:
        file = Path.home() / ".ray" / "auth_token"
        if not file.exists():
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(file)
        _tighten(file)
    except (OSError, RuntimeError):  # no home folder at all is the latter
        return False
    return os.access(file, os.R_OK)


def _write(file: Path) -> None:
    """Write a new token, whole at once, unless another process does."""
    handle, temporary = tempfile.mkstemp(dir=file.parent)  # with mode 0600
    try:
        with open(handle, "w") as out:
            out.write(secrets.token_hex(32))
        with suppress(FileExistsError):
            os.link(temporary, file)
    finally:
        os.unlink(temporary)


def _tighten(file: Path) -> None:
    """Take the rights of other users from a file that is this user's own."""
    status = file.stat()
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid == os.geteuid() and mode & 0o077:
        with suppress(OSError):  # a disk that is mounted read-only
            file.chmod(mode & 0o700)
