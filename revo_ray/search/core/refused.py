"""A refused search leaves no folder behind."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from revo_ray.errors import UserError
from revo_ray.storage import Storage

KEPT_BYTES = 2**30
"""Image tables of more bytes stay for the next try; to make them takes minutes."""


@contextmanager
def leaving_nothing(uri: str) -> Iterator[None]:
    """Delete a storage that a refused search made: its folder, and those above that are empty.

    A storage that was there before, or in which another search has begun, stays as it is. So do
    large image tables. Enter it before the locks of run directories, which
    delete these themselves.

    Args:
        uri: the configured storage.
    """
    folder = Storage(uri).local
    above = [] if folder is None else [folder, *folder.parents]
    made = [each for each in above if not each.exists()]
    try:
        yield
    except UserError:
        hidden = [*made[0].glob(".*")] if made else []  # tables and weights, for all searches
        files = [file for each in hidden for file in each.rglob("*") if file.is_file()]
        alone = made and len(hidden) == len([*made[0].glob("*")])
        if alone and sum(file.stat().st_size for file in files) < KEPT_BYTES:
            for each in hidden:
                shutil.rmtree(each, ignore_errors=True)
        with suppress(OSError):
            for each in made:
                each.rmdir()
        raise
