"""The path that `--out` names."""

from __future__ import annotations

import os
from pathlib import Path

from revo_ray.credentials import refuse_credentials
from revo_ray.errors import UserError
from revo_ray.uris import refuse_odd
from revo_ray.words import shown


def local_out(out: str) -> Path:
    """The absolute path that `--out` names.

    Raises:
        UserError: it is remote, holds credentials, or no file system has such a name.
    """
    refuse_credentials(out, "--out")
    if "://" in out:
        raise UserError(f"--out: {out!r} is no local path; write to a disk, then copy")
    path = Path(os.path.expanduser(out)).absolute()
    refuse_odd(str(path), "--out")
    try:
        path.exists()
    except OSError as error:
        raise UserError(f"--out: cannot write {shown(out)}: {error.strerror}") from None
    return path
