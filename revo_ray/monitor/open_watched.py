"""Finds the search or the study in a folder that somebody wants to watch."""

from __future__ import annotations

from revo_ray.errors import UserError
from revo_ray.monitor.watched import Watched, WatchedSearch, WatchedStudy
from revo_ray.rundir import RunDirectory, StudyDirectory
from revo_ray.rundir.holder import Holder
from revo_ray.storage import Storage


def open_watched(storage: Storage) -> Watched | None:
    """Open the search or the study in a folder; None if there is none yet.

    Raises:
        UserError: there can be none at that place.
        OSError: the storage cannot be reached.
    """
    refuse_file(storage)
    run, study = RunDirectory(storage), StudyDirectory(storage)
    if study.exists:
        return WatchedStudy(study)
    if run.exists:
        return WatchedSearch(run)
    names = [name for name in storage.list() if not name.startswith(".")]
    if names and Holder(storage).state != "free":  # a study, or a search, that is being prepared
        return None
    inside = [n for n in names if study.run(n).exists or StudyDirectory(storage.child(n)).exists]
    if inside:
        raise UserError(
            f"{storage.uri} holds {', '.join(inside)}; name one of them: {study.run(inside[0]).uri}"
        )
    if names:
        raise UserError(
            f"{storage.uri} holds neither a search nor a study "
            f"({RunDirectory.CONFIG} or {StudyDirectory.CONFIG}), but {', '.join(names[:3])}"
        )
    above = _above(storage)
    if above is not None and not above.exists():
        raise UserError(
            f"no such folder {storage.uri!r}: there is no {above.uri!r}; start the search first"
        )
    return None


def refuse_file(storage: Storage) -> None:
    """Make sure that a folder is none of this disk's files.

    Raises:
        UserError: it is.
    """
    if storage.local is not None and storage.local.exists() and not storage.local.is_dir():
        raise UserError(f"{storage.uri} is a file; name the run directory of a search or a study")


def _above(storage: Storage) -> Storage | None:
    """The folder that must exist before a run directory is made: its parent, or the bucket."""
    if storage.local is not None:
        return storage.parent
    above = storage.parent
    while above is not None and (higher := above.parent) is not None:
        above = higher
    return above


def missing_text(storage: Storage) -> str:
    """The message for a folder in which there is no search or study yet."""
    what = "does not exist yet"
    if storage.exists():
        names = [name for name in storage.list() if not name.startswith(".")]
        what = "is being prepared" if names else "is empty"
    return f"{storage.uri} {what}: no search or study has begun there"
