"""A refused search leaves no folder behind."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from revo_ray.errors import UserError
from revo_ray.storage import Storage

WORTH_KEEPING_S = 60.0
"""Seconds after which prepared images are kept for the next try."""


@contextmanager
def leaving_nothing(uri: str) -> Iterator[None]:
    """Delete a storage that a refused search made: its folder, and those above that are empty.

    A storage that was there before, or in which another search has begun, stays as it is. So do
    image tables that took long to prepare. Enter it before the locks of run directories, which
    delete these themselves.

    Args:
        uri: the configured storage.
    """
    folder = Storage(uri).local
    above = [] if folder is None else [folder, *folder.parents]
    made = [each for each in above if not each.exists()]
    began = time.monotonic()
    try:
        yield
    except UserError:
        hidden = [*made[0].glob(".*")] if made else []  # tables and weights, for all searches
        alone = len(hidden) == len([*made[0].glob("*")]) if made else False
        if alone and time.monotonic() - began < WORTH_KEEPING_S:
            for each in hidden:
                shutil.rmtree(each, ignore_errors=True)
        with suppress(OSError):
            for each in made:
                each.rmdir()
        raise
