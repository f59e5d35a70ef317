"""TensorBoard: the curve of every evaluation, written from its row."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import masked_crc32c

from revo_ray.ledger import Evaluation
from revo_ray.storage import Storage

FOLDER = "tensorboard"

SERIES = {
    "train/loss": "train_loss",
    "validation/loss": "val_loss",
    "validation/accuracy": "val_accuracy",
    "validation/auc": "val_auc",
}
"""Tag → field of `EpochMetrics`; the step is the epoch."""


class EvaluationCurves:
    """One TensorBoard run for each evaluation that trained; a listener of the ledger.

    An event file is written whole, beside the others, so it works on any storage, and a resumed
    search adds what is missing and doubles nothing.

    Args:
        storage: the run directory.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def catch_up(self, rows: Iterable[Evaluation]) -> None:
        """Write the runs of rows that have none."""
        present = set(self._storage.list(FOLDER))
        for row in rows:
            # A folder on a disk may have lost its file; an object store has no folder without one.
            if _run(row) not in present or (
                self._storage.local and not self._storage.exists(_path(row))
            ):
                self(row)

    def __call__(self, row: Evaluation) -> None:
        """Write a row's run."""
        if not row.curve or row.status == "cached":
            return
        self._storage.write(_path(row), b"".join(map(_record, _events(row))))


def _events(row: Evaluation) -> Iterator[Event]:
    yield Event(wall_time=row.started_at, file_version="brain.Event:2")
    for point in row.curve:
        found = {tag: getattr(point, field) for tag, field in SERIES.items()}
        values = [
            Summary.Value(tag=tag, simple_value=value)
            for tag, value in found.items()
            if value is not None
        ]
        at = row.started_at + point.seconds
        yield Event(wall_time=at, step=point.epoch, summary=Summary(value=values))


def _record(event: Event) -> bytes:
    """An event as it stands in a file: TensorFlow's record, with its two checksums.

    Made here since `SummaryWriter` starts a thread and a folder for each file, which takes longer
    than all else that is done for a row.
    """
    content = event.SerializeToString()
    size = struct.pack("<Q", len(content))
    crcs = (struct.pack("<I", masked_crc32c(part)) for part in (size, content))
    return size + next(crcs) + content + next(crcs)


def _path(row: Evaluation) -> str:
    """One name for each evaluation, so that a row made again replaces its curve."""
    return f"{FOLDER}/{_run(row)}/events.out.tfevents.revo"


def _run(row: Evaluation) -> str:
    return f"{row.evaluation:06d}"
