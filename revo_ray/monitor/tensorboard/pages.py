"""Event files of one run that only ever grow, on disks and in object stores.

TensorBoard holds a file open and reads on at its end, and never goes back to an earlier file. So
nothing that it has read may change: on a disk the last file is appended to; in an object store,
which cannot append, it is put again with more at its end, and files are short for that reason.
"""

from __future__ import annotations

from tensorboardX.proto.event_pb2 import Event

from revo_ray.monitor.tensorboard import events
from revo_ray.storage import Storage

FOLDER = "tensorboard"
"""Of a run directory."""

PREFIX = "events.out.tfevents.revo-"

PAGE_BYTES = 2**17
"""Beyond which a new file begins."""


class Pages:
    """A run's events, each at a place that follows from those before it.

    What stands there already is compared, not doubled: a search that is resumed makes the same
    events again from its ledger, and adds what is missing, be it the rest of an event that was cut
    short. A file that differs is written anew.

    Args:
        storage: the run directory.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        names = [name for name in storage.list(FOLDER) if name.startswith(PREFIX)]
        contents = storage.read_many([f"{FOLDER}/{name}" for name in names])
        self._found = dict(zip(names, contents, strict=True))
        self._number = -1
        self._content = bytearray()
        self._standing = b""
        """What the last page's file holds; more than `_content` while that is caught up with."""

    def add(self, event: Event) -> None:
        """Put an event at the end; it is in a file after `flush`."""
        self._make_room(event.wall_time)
        standing = self._standing_record()
        # Its checksums take longest to make, when a long search is resumed.
        same = standing is not None and standing[12:-4] == event.SerializeToString()
        self._content += standing if standing and same else events.record(event)

    def flush(self) -> None:
        """Bring the last file up to date.

        Raises:
            OSError: the storage is full or unreachable.
        """
        content = bytes(self._content)
        if content == self._standing or self._number < 0:
            return
        path = f"{FOLDER}/{_name(self._number)}"
        if self._standing and content.startswith(self._standing):
            self._storage.extend(path, content, len(self._standing))
        else:
            self._storage.write(path, content)
        self._standing = content

    def drop_rest(self) -> None:
        """Delete the files behind the last one: their rows were taken back."""
        for name in self._found:
            self._storage.delete(f"{FOLDER}/{name}")
        self._found.clear()

    def _standing_record(self) -> bytes | None:
        """The record that stands where the next one goes; None without a whole one."""
        at = len(self._content)
        head = self._standing[at : at + 8]
        if len(head) < 8:
            return None
        end = at + 16 + int.from_bytes(head, "little")
        return self._standing[at:end] if end <= len(self._standing) else None

    def _make_room(self, at: float) -> None:
        if self._number >= 0 and len(self._content) < PAGE_BYTES:
            return
        self.flush()
        self._number += 1
        self._content = bytearray(events.record(events.version(at)))
        self._standing = self._found.pop(_name(self._number), b"")


def _name(number: int) -> str:
    return f"{PREFIX}{number:06d}"
