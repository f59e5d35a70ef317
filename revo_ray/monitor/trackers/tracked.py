"""A search, its evaluations and its outcome as trackers get them: plain values, nothing to look up.

Everything follows from the run directory, so all of it can be sent again at any time.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from revo_ray.credentials import holds_credentials
from revo_ray.methods import UnitLike
from revo_ray.monitor.row_numbers import row_numbers
from revo_ray.objective import METRICS, Metric, Scores
from revo_ray.rundir import Evaluation, RunDirectory, SearchResult
from revo_ray.rundir.recorded_config import flat
from revo_ray.uris import divided

Value = str | int | float | bool | None


@dataclass(frozen=True)
class Held:
    """Parts of a search that a tracker holds already, by their digests.

    Attributes:
        evaluations: digest of each evaluation that is there as a whole, by its number.
        outcome: digest of the outcome; None if it is not there.
    """

    evaluations: Mapping[int, str] = field(default_factory=dict)
    outcome: str | None = None


@dataclass(frozen=True)
class RecordedUnit:
    """A unit of the network, by its record in a run directory."""

    name: str
    head: bool


@dataclass(frozen=True)
class TrackedSearch:
    """A search.

    Attributes:
        id: of the search, the same each time it is resumed.
        name: of its run directory.
        study: name of the study that it belongs to; None if it stands alone.
        uri: its run directory.
        folder: the same as a path; None if it is no local folder.
        config: the recorded configuration by dotted keys, without secrets.
        versions: versions of packages by name.
        revision: commit of the code; None if it is not known.
        units: units of the network, input to output.
        objective: the metric that says which evaluation is the best.
    """

    id: str
    name: str
    study: str | None
    uri: str
    folder: Path | None
    config: Mapping[str, Value]
    versions: Mapping[str, str]
    revision: str | None
    units: Sequence[UnitLike]
    objective: Metric

    @classmethod
    def of(
        cls, run: RunDirectory, units: Sequence[UnitLike], study: str | None = None
    ) -> TrackedSearch:
        """Describe the search in a run directory.

        Raises:
            UserError: its configuration is damaged.
            OSError: the storage is full or unreachable.
        """
        recorded = run.config()
        config, provenance = recorded.config, recorded.provenance
        values = flat(config.model_dump(mode="json"))
        return cls(
            id=run.tracking_id(),
            name=config.name,
            study=study,
            uri=divided(run.uri)[0],
            folder=run.storage.local,
            config={key: _plain(value) for key, value in values.items()},
            versions=dict(provenance.get("versions") or {}),
            revision=provenance.get("revision"),
            units=units,
            objective=config.search.metric,
        )

    @property
    def title(self) -> str:
        """The search in one line."""
        values = self.config
        return f"{values['method.name']}: {values['model.name']} on {values['data.source']}"


@dataclass(frozen=True)
class Point:
    """Scores of an evaluation after an epoch; at: seconds since 1970."""

    epoch: int
    at: float
    scores: Mapping[str, float]


@dataclass(frozen=True)
class TrackedEvaluation:
    """An evaluation that has ended: a row of the ledger.

    Attributes:
        number: 0-based, in proposal order.
        digest: of the row. An evaluation that was made again has another one.
        status: `ok`, `diverged`, `error`, `stopped` or `cached`.
        failed: whether it diverged or ended with an error.
        error: the cause.
        params: numbers that tell of its plan, then its sample.
        plan: the rates by unit, and what else the plan says.
        curve: scores by epoch; the last point has the final ones.
        facts: what it cost, and where it ran.
        started_at, finished_at: seconds since 1970.
        rows: number of evaluations of the search so far, this one included.
        best: scores of the best evaluation so far.
    """

    number: int
    digest: str
    status: str
    failed: bool
    error: str | None
    params: Mapping[str, Value]
    plan: Mapping[str, Any]
    curve: Sequence[Point]
    facts: Mapping[str, Value]
    started_at: float
    finished_at: float
    rows: int
    best: Mapping[str, float]

    @property
    def name(self) -> str:
        """Its name in the ledger."""
        return f"{self.number:06d}"

    @classmethod
    def of(
        cls, row: Evaluation, units: Sequence[UnitLike], rows: int, best: Evaluation | None
    ) -> TrackedEvaluation:
        """Describe a row; the other arguments are those of the class."""
        numbers = {name: number(row) for name, number in row_numbers(units).items()}
        rates = dict(zip((unit.name for unit in units), row.unit_lrs, strict=False))
        return cls(
            number=row.evaluation,
            digest=digest(row.model_dump(mode="json")),
            status=row.status,
            failed=row.status in ("diverged", "error"),
            error=row.error,
            params={key: _plain(value) for key, value in (numbers | row.sample).items()},
            plan={"rates": rates or row.unit_lrs, **row.plan},
            curve=_curve(row),
            facts={"seconds": round(row.seconds, 3)}
            | {
                name: getattr(row, name)
                for name in ("epochs", "images", "attempts", "node", "device")
            },
            started_at=row.started_at,
            finished_at=row.finished_at,
            rows=rows,
            best={} if best is None else _columns(best.scores, "best_"),
        )


@dataclass(frozen=True)
class TrackedOutcome:
    """The outcome of a search that has ended.

    Attributes:
        result: what `result.json` says.
        form: the form of the result, which `model` holds.
        scores: scores of that form on the test images.
        report: the folder of the report; None if there is none.
        model: a folder that `revo_ray.load` opens; None if no evaluation succeeded.
    """

    result: Mapping[str, Any]
    form: str
    scores: Mapping[str, float]
    report: Path | None
    model: Path | None

    @classmethod
    def of(cls, result: SearchResult, report: Path | None, model: Path | None) -> TrackedOutcome:
        """Describe a result and the folders that were made of it."""
        scores = Scores() if result.test is None else Scores.of_names(result.test)
        if (form := result.forms.get(result.form)) is not None:
            scores = Scores.of_names(form.test)
        values = {f"test_{name}": metric.value(scores) for name, metric in METRICS.items()}
        return cls(asdict(result), result.form, _finite(values), report, model)

    @cached_property
    def digest(self) -> str:
        """The digest of the result."""
        return digest(self.result)

    @property
    def figures(self) -> list[Path]:
        """The report's figures, as PNG."""
        return [] if self.report is None else sorted(self.report.rglob("*.png"))


def digest(values: Mapping[str, Any]) -> str:
    """A short checksum of JSON values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _curve(row: Evaluation) -> list[Point]:
    points = [
        Point(
            point.epoch,
            row.started_at + point.seconds,
            _finite({"train_loss": point.train_loss}) | _columns(point.scores),
        )
        for point in (row.curve[-1:] if row.status == "cached" else row.curve)
    ]
    final = _columns(row.scores)
    if final and not (points and points[-1].scores.items() >= final.items()):
        points.append(Point(row.epochs, row.finished_at, final))
    return points


def _columns(scores: Scores, prefix: str = "") -> dict[str, float]:
    return _finite({prefix + name: value for name, value in scores.columns.items()})


def _finite(values: Mapping[str, float | None]) -> dict[str, float]:
    return {k: v for k, v in values.items() if v is not None and math.isfinite(v)}


def _plain(value: Any) -> Value:
    if isinstance(value, str):
        return "…" if holds_credentials(value) else value
    return value if isinstance(value, Value) else json.dumps(value)
