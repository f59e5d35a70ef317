"""One TensorBoard run for every evaluation: its curve, and its line in the table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary

from revo_ray.monitor.tensorboard import events
from revo_ray.monitor.tensorboard.hyperparameters import Hyperparameters
from revo_ray.monitor.tensorboard.pages import FOLDER
from revo_ray.rundir.evaluation import Evaluation
from revo_ray.storage import Storage

SERIES = {
    "train/loss": "train_loss",
    "validation/loss": "val_loss",
    "validation/accuracy": "val_accuracy",
    "validation/auc": "val_auc",
}
"""Tag → field of `EpochMetrics`; the step is the epoch."""


class EvaluationCurves:
    """One TensorBoard run for each evaluation; a listener of the ledger.

    An event file is written whole, beside the others, so it works on any storage, and a resumed
    search adds what is missing and doubles nothing. Of an evaluation that was answered from
    another one there is the last point alone, for the table of hyperparameters.

    Args:
        storage: the run directory.
        hyperparameters: of the search.
    """

    def __init__(self, storage: Storage, hyperparameters: Hyperparameters) -> None:
        self._storage = storage
        self._hyperparameters = hyperparameters

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
        content = b"".join(map(events.record, self._events(row)))
        self._storage.write(_path(row), content)

    def _events(self, row: Evaluation) -> Iterator[Event]:
        yield events.version(row.started_at)
        session = self._hyperparameters.session(row)
        yield Event(wall_time=row.started_at, summary=Summary(value=session))
        for point in row.curve[-1:] if row.status == "cached" else row.curve:
            found = {tag: getattr(point, field) for tag, field in SERIES.items()}
            yield events.scalars(row.started_at + point.seconds, point.epoch, found)


def _path(row: Evaluation) -> str:
    """One name for each evaluation, so that a row made again replaces its curve."""
    return f"{FOLDER}/{_run(row)}/events.out.tfevents.revo"


def _run(row: Evaluation) -> str:
    return f"{row.evaluation:06d}"
