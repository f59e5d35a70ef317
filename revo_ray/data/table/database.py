"""The database of a survey: a row for each picture that was looked at."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

_TABLE = """
CREATE TABLE IF NOT EXISTS pictures (
    id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, mark TEXT NOT NULL, digest TEXT NOT NULL,
    width INTEGER, height INTEGER, kind TEXT, pages INTEGER, deep INTEGER,
    pixels BLOB, perceptual BLOB, thumbnail BLOB
)
"""


def connect(path: Path) -> sqlite3.Connection:
    """Open a database, or a new one in the place of one that is damaged.

    Raises:
        OSError: it cannot be written.
    """
    if path.is_symlink():  # sqlite would write to another file
        path.unlink()
    for attempt in (1, 2):
        # The lock of the survey is held, and not every disk has the locks of sqlite.
        database = sqlite3.connect(f"{path.absolute().as_uri()}?nolock=1", uri=True)
        try:
            for pragma in ("synchronous = OFF", "journal_mode = TRUNCATE", "cache_size = -2000"):
                database.execute(f"PRAGMA {pragma}")
            database.execute(_TABLE)
            database.execute("SELECT id, name, mark, digest, deep, thumbnail FROM pictures LIMIT 1")
            database.execute("PRAGMA user_version = 1")  # fails where nothing can be written
            return database
        except sqlite3.Error as error:
            database.close()
            if attempt == 2 or not path.exists() or not os.access(path.parent, os.W_OK):
                raise OSError(f"cannot write {str(path)!r}: {error}") from None
            path.unlink()
    raise AssertionError
