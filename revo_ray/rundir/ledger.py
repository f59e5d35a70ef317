"""The ledger: one object per finished evaluation, and the only state that a search has."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from revo_ray.errors import UserError
from revo_ray.objective import LOSS, METRICS, Metric, Scores
from revo_ray.storage import Storage

Status = Literal["ok", "diverged", "error", "stopped", "cached"]


class EpochMetrics(BaseModel):
    """One point of an evaluation's curve.

    Attributes:
        epoch: 1-based.
        train_loss: mean cross-entropy over the epoch's images while it trained.
        val_…: scores after the epoch; None if it was not validated.
        images: training images so far.
        seconds: since the evaluation began.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    epoch: int
    train_loss: float | None = None
    val_loss: float | None = None
    val_accuracy: float | None = None
    val_auc: float | None = None
    val_balanced_accuracy: float | None = None
    val_macro_f1: float | None = None
    images: int = 0
    seconds: float = 0.0

    @property
    def scores(self) -> Scores:
        """Scores on the validation images after the epoch."""
        return Scores.of_columns(self)


class Evaluation(BaseModel):
    """A row: one finished evaluation, with all that a reader or a resumed search needs.

    Attributes:
        evaluation: 0-based, in proposal order.
        generation: 0-based; None for methods without generations.
        sample, genome, plan, unit_lrs: what was tried, from names to rates (0 = frozen).
        status: `ok`; `diverged`, the loss was not finite or absurd; `error`, with its cause in
            `error`; `stopped`, by a scheduler; `cached`, answered from the row `source`.
        attempts: trials that it took, lost ones counted.
        val_…: scores on the validation images after the last epoch, see `Scores`.
        seconds: of training and validation, on one device.
        started_at, finished_at: seconds since 1970, UTC.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    evaluation: int = Field(ge=0)
    generation: int | None = None
    trial_id: str = ""
    sample: dict[str, Any]
    genome: list[float] = []
    plan: dict[str, Any] = {}
    unit_lrs: list[float] = []
    status: Status
    error: str | None = None
    source: int | None = None
    attempts: int = 1
    val_loss: float | None = None
    val_accuracy: float | None = None
    val_auc: float | None = None
    val_balanced_accuracy: float | None = None
    val_macro_f1: float | None = None
    curve: list[EpochMetrics] = []
    epochs: int = 0
    images: int = 0
    seconds: float = 0.0
    node: str = ""
    device: str = ""
    started_at: float = 0.0
    finished_at: float = 0.0

    @property
    def scores(self) -> Scores:
        """Scores on the validation images after the last epoch."""
        return Scores.of_columns(self)

    @property
    def whole_plan(self) -> dict[str, Any]:
        """The plan as `Plan.from_json` reads it: `plan`, with the rates."""
        return {"unit_lrs": self.unit_lrs} | self.plan


_COLUMNS = [metric.column for metric in METRICS.values()]
_POINT = pa.struct(
    [("epoch", pa.int64())]
    + [(name, pa.float64()) for name in ("train_loss", *_COLUMNS)]
    + [("images", pa.int64()), ("seconds", pa.float64())]
)
_TYPES = {
    "evaluation": pa.int64(),
    "generation": pa.int64(),
    "genome": pa.list_(pa.float64()),
    "unit_lrs": pa.list_(pa.float64()),
    "source": pa.int64(),
    "attempts": pa.int64(),
    "curve": pa.list_(_POINT),
    "epochs": pa.int64(),
    "images": pa.int64(),
} | dict.fromkeys((*_COLUMNS, "seconds", "started_at", "finished_at"), pa.float64())
SCHEMA = pa.schema([(name, _TYPES.get(name, pa.string())) for name in Evaluation.model_fields])
"""Columns of `ledger.parquet`; `sample` and `plan`, which differ by method, are JSON."""


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
        names = [name for name in storage.list(cls.FOLDER) if name.endswith(".json")]
        paths = [f"{cls.FOLDER}/{name}" for name in names]
        for name, path, content in zip(names, paths, storage.read_many(paths), strict=True):
            row = _unsealed(content, f"{storage.uri}/{path}")
            if row is None:
                ledger.torn.append(path)
                continue
            right = _file_name(row.evaluation)
            if name != right:
                raise UserError(
                    f"{storage.uri}/{path} holds evaluation {row.evaluation}; name it {right}"
                )
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

    def append(self, row: Evaluation) -> None:
        """Write a row, whole or not at all; it is then final.

        Raises:
            ValueError: that evaluation has a row.
            OSError: the storage is full or unreachable.
        """
        if row.evaluation in self._rows:
            raise ValueError(f"evaluation {row.evaluation} has a row already")
        self.storage.write(f"{self.FOLDER}/{_file_name(row.evaluation)}", _sealed(row))
        self._keep(row)

    def remove(self, evaluations: Iterable[int]) -> None:
        """Take rows back, so that those evaluations are made again; last one first."""
        for evaluation in sorted(evaluations, reverse=True):
            self.storage.delete(f"{self.FOLDER}/{_file_name(evaluation)}")
            self._rows.pop(evaluation, None)
        kept, self._rows, self._best = list(self._rows.values()), {}, None
        for row in kept:
            self._keep(row)

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
        if row.status == "ok" and self.objective.is_better(row, self._best):
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
        self.storage.write("ledger.parquet", buffer.getvalue())


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
        names = {n for n in self._storage.list(Ledger.FOLDER) if n.endswith(".json")}
        if not self._read <= names:
            self._read.clear()
            return None
        new = sorted(names - self._read)
        paths = [f"{Ledger.FOLDER}/{name}" for name in new]
        rows = []
        for name, path, content in zip(new, paths, self._storage.read_many(paths), strict=True):
            row = _unsealed(content, f"{self._storage.uri}/{path}")
            if row is not None:  # a torn one is made again, and is a row then
                self._read.add(name)
                rows.append(row)
        return rows


def _file_name(evaluation: int) -> str:
    return f"{evaluation:06d}.json"


_SEAL = re.compile(rb', "sha256": "([0-9a-f]{64})"\}$')


def _sealed(row: Evaluation) -> bytes:
    """A row as JSON that ends with the SHA-256 of what stands before."""
    text = json.dumps(row.model_dump(mode="json"), allow_nan=False)[:-1].encode()
    return text + f', "sha256": "{hashlib.sha256(text).hexdigest()}"}}'.encode()


def _unsealed(content: bytes, uri: str) -> Evaluation | None:
    """The row in a file; None where the file was cut short.

    Raises:
        UserError: it was edited.
    """
    seal = _SEAL.search(content)
    text = content[: seal.start()] if seal else content
    if seal and hashlib.sha256(text).hexdigest() == seal[1].decode():
        try:
            return Evaluation.model_validate_json(text + b"}")
        except ValidationError:
            raise UserError(f"{uri} is a row of another version") from None
    try:
        json.loads(content)
    except (ValueError, RecursionError):
        return None
    raise UserError(
        f"{uri} is not as it was written (edited, or of another version); restore it, or delete it "
        "to have that evaluation made again"
    )
