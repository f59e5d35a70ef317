"""Event files of one TensorBoard run that only ever grow, on disks and in object stores.

TensorBoard holds a file open and reads on at its end, and never goes back to an earlier file. So
nothing that it has read may change. On a disk the last file is appended to. An object store cannot
append, so there the last file is written again with more at its end; files are short for that
reason.
"""

from __future__ import annotations

from tensorboardX.proto.event_pb2 import Event

from revo_ray.monitor.tensorboard import events
from revo_ray.storage import Storage

PREFIX = "events.out.tfevents.revo-"

FILE_BYTES = 2**17
"""Size from which on a new file begins."""


class EventFiles:
    """The events of one run, in the order in which they are added.

    A resumed search adds the same events again from its ledger. They are compared with the files:
    equal ones are kept, missing ones are appended, also to an event that was cut short, and a file
    that differs is written anew.

    Args:
        storage: TensorBoard's folder in the run directory.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        names = [name for name in storage.list() if name.startswith(PREFIX)]
        self._found = dict(zip(names, storage.read_many(names), strict=True))
        self._number = -1
        self._content = bytearray()
        """Content that the last file should have."""
        self._written = b""
        """Content that the last file has; more than `_content` while the search catches up."""

    def add(self, event: Event) -> None:
        """Add an event at the end; `flush` writes it."""
        self._make_room(event.wall_time)
        written = self._written_record()
        # Checksums take most of the time when a long search is resumed: use those in the file.
        same = written is not None and written[12:-4] == event.SerializeToString()
        self._content += written if written and same else events.record(event)

    def flush(self) -> None:
        """Bring the last file up to date.

        Raises:
            OSError: the storage is full or unreachable.
        """
        content = bytes(self._content)
        if content == self._written or self._number < 0:
            return
        name = _name(self._number)
        if self._written and content.startswith(self._written):
            self._storage.extend(name, content, len(self._written))
        else:
            self._storage.write(name, content)
        self._written = content

    def drop_rest(self) -> None:
        """Delete the files after the last one: their rows were taken back."""
        for name in self._found:
            self._storage.delete(name)
        self._found.clear()

    def _written_record(self) -> bytes | None:
        """The record in the file at the place of the next one; None without a whole one."""
        at = len(self._content)
        head = self._written[at : at + 8]
        if len(head) < 8:
            return None
        end = at + 16 + int.from_bytes(head, "little")
        return self._written[at:end] if end <= len(self._written) else None

    def _make_room(self, at: float) -> None:
        if self._number >= 0 and len(self._content) < FILE_BYTES:
            return
        self.flush()
        self._number += 1
        self._content = bytearray(events.record(events.version(at)))
        self._written = self._found.pop(_name(self._number), b"")


def _name(number: int) -> str:
    return f"{PREFIX}{number:06d}"
