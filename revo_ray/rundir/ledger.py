"""The ledger: one file for each finished evaluation, and the only state that a search has."""

from __future__ import annotations

import io
import json
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from revo_ray.errors import UserError
from revo_ray.objective import LOSS, Metric
from revo_ray.rundir.evaluation import SCHEMA, Evaluation, read_row, seal_row
from revo_ray.storage import Storage

TABLE = "ledger.parquet"
MAX_ERRORS = 3
"""Errors in a row, in proposal order, that stop the search."""


class Ledger:
    """The rows of one search, in memory and in `ledger/` of its run directory.

    Args:
        storage: the run directory.
        objective: the metric that says which row is the best.
    """

    FOLDER = "ledger"

    def __init__(self, storage: Storage, objective: Metric = LOSS) -> None:
        self.storage = storage
        self.objective = objective
        self.torn: list[str] = []
        """Files that hold no row: a disk that lost power, or was full, cut them short."""
        self._rows: dict[int, Evaluation] = {}
        self._best: Evaluation | None = None

    @classmethod
    def load(cls, storage: Storage, objective: Metric = LOSS) -> Ledger:
        """Read every row.

        Raises:
            UserError: a row was edited, or is not what its name says.
            OSError: the storage is unreachable.
        """
        ledger = cls(storage, objective)
        for path, row in _read_rows(storage, row_files(storage)):
            if row is None:
                ledger.torn.append(path)
            elif path != (right := _path(row.evaluation)):
                raise UserError(
                    f"{storage.uri}/{path} holds evaluation {row.evaluation}; "
                    f"name it {posixpath.basename(right)}"
                )
            else:
                ledger._keep(row)
        return ledger

    def set_torn_aside(self) -> None:
        """Rename the files that hold no row, so that those evaluations can be made again."""
        for path in self.torn:
            self.storage.move(path, f"{path}.torn")

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Evaluation]:
        """Rows in proposal order."""
        return iter(self._rows[number] for number in sorted(self._rows))

    def __contains__(self, evaluation: int) -> bool:
        return evaluation in self._rows

    def __getitem__(self, evaluation: int) -> Evaluation:
        return self._rows[evaluation]

    def append(self, row: Evaluation) -> Evaluation:
        """Write a row, whole or not at all; returns the final row of that evaluation.

        It is another one if a driver that held the directory before, and was suspended in the
        middle of writing, came first.

        Raises:
            ValueError: that evaluation has a row.
            UserError: what another driver wrote is no row.
            OSError: the storage is full or unreachable.
        """
        if row.evaluation in self._rows:
            raise ValueError(f"evaluation {row.evaluation} has a row already")
        path, content = _path(row.evaluation), seal_row(row)
        found = self.storage.create(path, content)
        if found != content:
            other = read_row(found, f"{self.storage.uri}/{path}")
            if other is None or other.evaluation != row.evaluation:
                raise UserError(f"{self.storage.uri}/{path} holds no row of its name; delete it")
            row = other
        self._keep(row)
        return row

    def remove(self, evaluations: Iterable[int]) -> None:
        """Take rows back, so that those evaluations are made again; last one first."""
        for evaluation in sorted(evaluations, reverse=True):
            self.storage.delete(_path(evaluation))
            self._rows.pop(evaluation, None)
        self._best = self.objective.best(self)

    @property
    def best(self) -> Evaluation | None:
        """The best row that has weights of its own; None without one."""
        return self._best

    def errors_around(self, evaluation: int) -> list[int]:
        """The unbroken run of `error` rows, in proposal order, that an evaluation stands in."""
        run = []
        for step in (-1, 1):
            neighbour = evaluation if step == 1 else evaluation - 1
            while (row := self._rows.get(neighbour)) is not None and row.status == "error":
                run.append(neighbour)
                neighbour += step
        return sorted(run) if evaluation in run else []

    def _keep(self, row: Evaluation) -> None:
        self._rows[row.evaluation] = row
        if self.objective.is_better(row, self._best):
            self._best = row

    def write_parquet(self) -> None:
        """Write `ledger.parquet`: the same rows as a table, by `SCHEMA`."""
        columns: dict[str, list[Any]] = {name: [] for name in Evaluation.model_fields}
        for row in self:
            values = row.model_dump(mode="json")
            for name in columns:
                is_free_form = name in ("sample", "plan")
                columns[name].append(json.dumps(values[name]) if is_free_form else values[name])
        buffer = io.BytesIO()
        pq.write_table(pa.table(columns, schema=SCHEMA), buffer)
        self.storage.write(TABLE, buffer.getvalue())


class LedgerTail:
    """The rows of a ledger that somebody else writes, each read once.

    Args:
        storage: the run directory.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._read: set[str] = set()

    def new_rows(self) -> list[Evaluation] | None:
        """Rows that came since the last call, in proposal order; None where some were taken back.

        Then the next call gives all that are there.

        Raises:
            UserError: a row was edited.
            OSError: the storage is unreachable.
        """
        paths = row_files(self._storage)
        if not self._read <= set(paths):
            self._read.clear()
            return None
        new = [path for path in paths if path not in self._read]
        rows = {path: row for path, row in _read_rows(self._storage, new) if row is not None}
        self._read |= rows.keys()  # without torn ones, which are made again
        return list(rows.values())


def row_files(storage: Storage) -> list[str]:
    """Paths of the rows of a ledger, sorted; files that were cut short are among them."""
    names = storage.list(Ledger.FOLDER)
    return [f"{Ledger.FOLDER}/{name}" for name in names if name.endswith(".json")]


def _path(evaluation: int) -> str:
    return f"{Ledger.FOLDER}/{evaluation:06d}.json"


def _read_rows(storage: Storage, paths: Sequence[str]) -> Iterator[tuple[str, Evaluation | None]]:
    """Paths and rows; None for a file that was cut short."""
    for path, content in zip(paths, storage.read_many(paths), strict=True):
        yield path, read_row(content, f"{storage.uri}/{path}")
