"""One TensorBoard run for every evaluation: its curves, and its line in the table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary

from revo_ray.monitor.tensorboard import events, tags
from revo_ray.monitor.tensorboard.hyperparameters import Hyperparameters
from revo_ray.objective import METRICS
from revo_ray.rundir.evaluation import Evaluation
from revo_ray.storage import Storage

FILE = "events.out.tfevents.revo"


class EvaluationCurves:
    """Writes one TensorBoard run for each evaluation; a listener of the ledger.

    Each event file is written whole, so this works on any storage, and a resumed search adds the
    missing files and doubles nothing. An evaluation that was answered from another one gets its
    last point alone, for the table of hyperparameters.

    Args:
        storage: TensorBoard's folder in the run directory.
        hyperparameters: the table of this search's evaluations.
    """

    def __init__(self, storage: Storage, hyperparameters: Hyperparameters) -> None:
        self._storage = storage
        self._hyperparameters = hyperparameters

    def catch_up(self, rows: Iterable[Evaluation]) -> None:
        """Write the runs of rows that have none, and delete those of rows that were taken back."""
        rows, present = list(rows), set(self._storage.list())
        for name in present - {_run(row) for row in rows}:
            if name.isdigit():
                self._storage.delete(f"{name}/{FILE}")
        for row in rows:
            # A disk may have the folder without its file; an object store has no such folder.
            if _run(row) not in present or (
                self._storage.local and not self._storage.exists(_path(row))
            ):
                self(row)

    def __call__(self, row: Evaluation) -> None:
        """Write the run of a row."""
        content = b"".join(map(events.record, self._events(row)))
        self._storage.write(_path(row), content)

    def _events(self, row: Evaluation) -> Iterator[Event]:
        yield events.version(row.started_at)
        session = self._hyperparameters.session(row)
        yield Event(wall_time=row.started_at, summary=Summary(value=session))
        for point in row.curve[-1:] if row.status == "cached" else row.curve:
            values, scores = {tags.TRAIN_LOSS: point.train_loss}, point.scores
            values |= {tags.validation(metric): metric.value(scores) for metric in METRICS.values()}
            yield events.scalars(row.started_at + point.seconds, point.epoch, values)


def _path(row: Evaluation) -> str:
    """The event file of a row. A row that is made again replaces its file."""
    return f"{_run(row)}/{FILE}"


def _run(row: Evaluation) -> str:
    return f"{row.evaluation:06d}"
