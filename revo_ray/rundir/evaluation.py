"""Rows of the ledger: their columns, and their files, which end with a checksum."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Annotated, Any, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from revo_ray.errors import UserError
from revo_ray.objective import METRICS, Scores
from revo_ray.settings.safe_json import read_json

Status = Literal["ok", "diverged", "error", "stopped", "cached"]

MOST_UNITS = 2000
"""Most units of a network, and genes of a genome."""
MOST_EPOCHS = 100_000
"""Most points of a curve."""

Count = Annotated[int, Field(ge=0, le=2**53)]
Seconds = Annotated[float, Field(ge=0, le=1e11)]
"""Seconds since 1970 too, for five thousand years."""
Rate = Annotated[float, Field(ge=0, le=1e9)]


_NO_FIELDS: set[str] = set()


class _Scored(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    def model_post_init(self, context: Any) -> None:
        """Share the set of field names, which would be half of a row in memory."""
        object.__setattr__(self, "__pydantic_fields_set__", _NO_FIELDS)

    @property
    def scores(self) -> Scores:
        """Scores on the validation images; those of an evaluation are after its last epoch."""
        return Scores.of_columns(self)


class EpochMetrics(_Scored):
    """One point of an evaluation's curve.

    Attributes:
        epoch: 1-based.
        train_loss: mean cross-entropy over the epoch's images while it trained.
        val_…: scores after the epoch; None if it was not validated.
        images: training images so far.
        seconds: since the evaluation began.
    """

    epoch: Count
    train_loss: float | None = None
    val_loss: float | None = None
    val_accuracy: float | None = None
    val_auc: float | None = None
    val_balanced_accuracy: float | None = None
    val_macro_f1: float | None = None
    images: Count = 0
    seconds: Seconds = 0.0


class Evaluation(_Scored):
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
        predictions: SHA-256 of the file of its validation logits; None if it has none of its own.
        started_at, finished_at: seconds since 1970, UTC.
    """

    evaluation: int = Field(ge=0, le=999_999_999)
    generation: Count | None = None
    trial_id: str = ""
    sample: dict[str, Any] = Field(max_length=MOST_UNITS)
    genome: list[float] = Field([], max_length=MOST_UNITS)
    plan: dict[str, Any] = {}
    unit_lrs: list[Rate] = Field([], max_length=MOST_UNITS)
    status: Status
    error: str | None = None
    source: Count | None = None
    attempts: Count = 1
    val_loss: float | None = None
    val_accuracy: float | None = None
    val_auc: float | None = None
    val_balanced_accuracy: float | None = None
    val_macro_f1: float | None = None
    curve: list[EpochMetrics] = Field([], max_length=MOST_EPOCHS)
    epochs: Count = 0
    images: Count = 0
    seconds: Seconds = 0.0
    node: str = ""
    device: str = ""
    predictions: str | None = None
    started_at: Seconds = 0.0
    finished_at: Seconds = 0.0

    @property
    def weight_decay(self) -> float | None:
        """The plan's weight decay; None if it has none."""
        value = self.plan.get("weight_decay")
        return value if isinstance(value, int | float) else None

    @property
    def recipe(self) -> dict[str, float]:
        """The plan's own training settings."""
        found = self.plan.get("recipe")
        items = found.items() if isinstance(found, dict) else ()
        return {name: value for name, value in items if isinstance(value, int | float)}

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
_COUNTS = ("evaluation", "generation", "source", "attempts", "epochs", "images")
_TYPES = (
    dict.fromkeys(_COUNTS, pa.int64())
    | dict.fromkeys((*_COLUMNS, "seconds", "started_at", "finished_at"), pa.float64())
    | dict.fromkeys(("genome", "unit_lrs"), pa.list_(pa.float64()))
    | {"curve": pa.list_(_POINT)}
)
SCHEMA = pa.schema([(name, _TYPES.get(name, pa.string())) for name in Evaluation.model_fields])
"""Columns of `ledger.parquet`; `sample` and `plan`, which differ by method, are JSON."""


_SEAL = re.compile(rb', "sha256": "([0-9a-f]{64})"\}$')


def seal_row(row: Evaluation) -> bytes:
    """A row as JSON that ends with the SHA-256 of what stands before."""
    text = json.dumps(row.model_dump(mode="json"), allow_nan=False)[:-1].encode()
    return text + f', "sha256": "{hashlib.sha256(text).hexdigest()}"}}'.encode()


def read_row(content: bytes, uri: str) -> Evaluation | None:
    """The row in a file; None where the file was cut short.

    Raises:
        UserError: it was edited.
    """
    seal = _SEAL.search(content)
    text = content[: seal.start()] if seal else content
    if seal and hashlib.sha256(text).hexdigest() == seal[1].decode():
        try:
            return Evaluation.model_validate(read_json(text + b"}"))
        except ValueError:  # pydantic's too
            raise UserError(f"{uri} is a row of another version, or its values are none") from None
    try:
        read_json(content, finite=False)
    except ValueError:
        return None
    raise UserError(
        f"{uri} is not as it was written (edited, or of another version); restore it, or delete it "
        "to have that evaluation made again"
    )
