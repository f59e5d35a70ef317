"""TensorBoard: the curve of every evaluation, written from its row."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from tensorboardX import SummaryWriter

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
            if _name(row) not in present or (
                self._storage.local and not self._storage.exists(_path(row))
            ):
                self(row)

    def __call__(self, row: Evaluation) -> None:
        """Write a row's run."""
        if not row.curve or row.status == "cached":
            return
        with tempfile.TemporaryDirectory(prefix="revo-") as folder:
            with SummaryWriter(folder, write_to_disk=True) as writer:
                for point in row.curve:
                    at = row.started_at + point.seconds
                    for tag, field in SERIES.items():
                        value = getattr(point, field)
                        if value is not None:
                            writer.add_scalar(tag, value, point.epoch, walltime=at)
            (file,) = Path(folder).iterdir()
            self._storage.write(_path(row), file.read_bytes())


def _path(row: Evaluation) -> str:
    """One name for each evaluation, so that a row made again replaces its curve."""
    return f"{FOLDER}/{_name(row)}/events.out.tfevents.revo"


def _name(row: Evaluation) -> str:
    return f"{row.evaluation:06d}"
