"""An empty folder in which Ray starts.

Ray puts the current folder of the process that connects on the path of its workers, before all
libraries, and its processes run there.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from revo_ray.current_folder import is_current
from revo_ray.installation import CHECKOUT
from revo_ray.search.core.paths import JOB

_RELATIVE = (
    *("RAY_AUTH_TOKEN_PATH", "RAY_TMPDIR"),
    *("RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY", "RAY_TLS_CA_CERT"),
)
"""Variables that may name a path from the current folder on."""


@contextmanager
def start_folder(place: str | None = None) -> Iterator[Path | None]:
    """Make the folder, for as long as Ray's processes live.

    No other user can write there or guess its name, for machines that lack it have it on the path,
    too.

    Args:
        place: the folder in which it is made. None: the temporary folder.

    Yields:
        the folder. None in a Ray job, whose folder is the upload, and in the checkout that this
        code runs from: workers import it from there.
    """
    if os.environ.get(JOB) or is_current(CHECKOUT):
        yield None
        return
    made = tempfile.TemporaryDirectory(prefix="revo-ray-", dir=place, ignore_cleanup_errors=True)
    with made as private:
        folder = Path(private).resolve() / secrets.token_hex(16)
        folder.mkdir()
        yield folder


@contextmanager
def starting_in(folder: Path | None) -> Iterator[None]:
    """Change the current folder of this process for a time; None leaves it."""
    if folder is None:
        yield
        return
    for name in _RELATIVE:
        if os.environ.get(name):
            os.environ[name] = os.path.abspath(os.environ[name])
    before = os.open(os.curdir, getattr(os, "O_PATH", os.O_RDONLY))
    os.chdir(folder)
    try:
        yield
    finally:
        os.fchdir(before)
        os.close(before)
