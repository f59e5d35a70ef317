"""The cluster that `--address auto` means: one of this user or of root."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from revo_ray.errors import UserError
from revo_ray.search.ray.internals import address_file, process_addresses
from revo_ray.search.ray.private_folder import PATHS

CHOSEN = "RAY_ADDRESS"
"""Variable with which a user, or Ray's job server, names the cluster that `auto` means."""


def resolve(address: str | None) -> str | None:
    """Resolve `auto`; return any other address as it is.

    Ray itself believes a file in a folder where everybody may write, and the command line of any
    process. A cluster of another user would get this user's token, and runs code here.

    Raises:
        UserError: there is no cluster of this user or of root, or no single one.
    """
    if address != "auto" or os.environ.get(CHOSEN):
        return address
    trusted = {0, os.geteuid()}
    file = address_file()
    if file is not None and os.path.lexists(file):
        return _read(file, trusted)
    found = process_addresses(trusted, PATHS)  # not the embedded Ray of a search
    if found is None:  # this Ray lacks the means, and has said so
        return address
    if len(found) != 1:
        runs = f"several run here: {', '.join(sorted(found))}" if found else "none runs here"
        raise UserError(f"--address auto: of the user's own clusters {runs}; give host:port")
    return found.pop()


def _read(file: Path, trusted: set[int]) -> str:
    try:
        with open(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)) as opened:
            status = os.fstat(opened.fileno())
            if stat.S_ISREG(status.st_mode) and status.st_uid in trusted:
                return opened.read(1000).strip()
    except OSError:
        pass
    raise UserError(
        f"--address auto: {file} is not a file of this user or of root, who could send the search "
        "to their own cluster; give host:port"
    )
