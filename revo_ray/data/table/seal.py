"""Seals of cached files, which tell whether a file is the one that this user's revo-ray wrote.

A seal is a keyed checksum (HMAC-SHA256) beside its file. The key lies in the user's own cache
folder, so whoever may write the file can still not write its seal.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from revo_ray.data.table.disk import cache_root, file_sha256, make_cache, replacing

SEAL = ".seal"
_KEY = "key"
_KEY_BYTES = 32


def seal(path: Path) -> None:
    """Seal a file that was just written or checked; without a key or room it stays unsealed."""
    with suppress(OSError, RuntimeError):
        if key := _key():
            with replacing(_beside(path)) as temporary:
                temporary.write_text(_seal(path, key))


def trusted(path: Path) -> bool:
    """Whether nobody else can have changed a cached file.

    A file with a seal must fit it. One without, of an earlier version or of another machine, must
    be this user's or root's, and no one else may write it. A missing file can be trusted.

    Raises:
        OSError: the file cannot be read.
    """
    if not os.path.lexists(path):
        return True
    key = _key()
    with suppress(FileNotFoundError, ValueError):
        found = _beside(path).read_text()
        if key and found.partition(" ")[0] == _name(key):
            return hmac.compare_digest(found, _seal(path, key))
    return private(path)


def private(path: Path) -> bool:
    """Whether a file is this user's or root's, is no link, and no one else may write it."""
    status = path.lstat()
    own = status.st_uid in (os.getuid(), 0) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return own and stat.S_ISREG(status.st_mode)


def _beside(path: Path) -> Path:
    return path.with_name(path.name + SEAL)


def _seal(path: Path, key: bytes) -> str:
    """The name of the key, and the keyed checksum of the file's name and content."""
    text = f"{path.name}\n{file_sha256(path)}".encode()
    return f"{_name(key)} {hmac.new(key, text, 'sha256').hexdigest()}"


def _name(key: bytes) -> str:
    return hashlib.sha256(b"name of " + key).hexdigest()[:16]


def _key() -> bytes | None:
    """This user's key, made on first use; None if it cannot be kept private."""
    try:
        path = cache_root() / _KEY
        if not path.exists():
            make_cache()
            with replacing(path) as temporary:
                descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(secrets.token_bytes(_KEY_BYTES))
        status = path.lstat()
        if status.st_uid != os.getuid() or status.st_mode & 0o077:
            return None
        key = path.read_bytes()
    except (OSError, RuntimeError):
        return None
    return key if len(key) == _KEY_BYTES else None
