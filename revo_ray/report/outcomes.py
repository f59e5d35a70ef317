"""The searches of a study, finished or not, as the tables and the statistics read them."""

from __future__ import annotations

import io
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import yaml
from pydantic import BaseModel, ValidationError

from revo_ray.errors import UserError
from revo_ray.report.search_names import Identity, identify
from revo_ray.rundir.evaluation import Evaluation
from revo_ray.rundir.ledger import Ledger
from revo_ray.settings.deleted import read_back
from revo_ray.settings.safe_yaml import read_yaml
from revo_ray.settings.schema import SearchConfig
from revo_ray.storage import Storage

CONFIG = "config.yaml"
RESULT = "result.json"
PARQUET = "ledger.parquet"
FOLDER = "report"
"""What reports are written to, in the folder that they are about."""


@dataclass(frozen=True)
class Scores:
    """Mean cross-entropy, accuracy and AUC (both 0 … 1); None where it is not defined."""

    loss: float | None
    accuracy: float | None
    auc: float | None


class Metric(NamedTuple):
    """A test score that methods are compared by; more is better."""

    key: str
    name: str


METRICS = (Metric("auc", "AUC"), Metric("accuracy", "accuracy"))


@dataclass(frozen=True)
class SearchOutcome:
    """One search of a study, as far as it is.

    Attributes:
        name: of its run directory.
        identity: method, model, data, fraction and seed.
        budget: `evaluations` or `epochs`: what the search is held to.
        budget_evaluations, budget_epochs: that budget, counted both ways.
        evaluations, epochs, images, device_seconds: what was spent.
        statuses: ledger rows by status.
        validation: of the best evaluation; None where none succeeded yet.
        test: of the best model, measured once at the end; None before, and where none succeeded.
        done: whether the search is finished.
    """

    name: str
    identity: Identity
    budget: str
    budget_evaluations: int
    budget_epochs: int
    evaluations: int
    epochs: int
    images: int
    device_seconds: float
    statuses: dict[str, int]
    validation: Scores | None
    test: Scores | None
    done: bool

    @property
    def cell(self) -> tuple[str, str, float]:
        """Model, data and fraction: what several seeds repeat."""
        return self.identity.model, self.identity.data, self.identity.fraction

    @property
    def block(self) -> tuple[str, str, float, str]:
        """The cell and the seed: what methods are paired by."""
        return (*self.cell, self.identity.seed)

    @property
    def progress(self) -> str:
        """How far it is, `12/100`, in what it is held to."""
        if self.budget == "epochs":
            return f"{self.epochs}/{self.budget_epochs} epochs"
        return f"{self.evaluations}/{self.budget_evaluations}"

    @property
    def spent_exactly(self) -> bool:
        """Whether it cost its budget: neither more nor less."""
        if self.evaluations == self.budget_evaluations:
            return True  # also under a budget of epochs, where nothing is stopped early
        return self.budget == "epochs" and self.epochs == self.budget_epochs

    def score(self, metric: Metric) -> float | None:
        """The test score of a finished search; None where there is none."""
        if not self.done or self.test is None:
            return None
        value: float | None = getattr(self.test, metric.key)
        return value


def load_outcomes(storage: Storage) -> list[SearchOutcome]:
    """Read every search below a study's run directory, or the one search that it is.

    Folders that hold no search are passed over. A search without a result is read from its
    ledger, so that a study can be looked at while it runs.

    Returns:
        By model, data, fraction, method (the revo methods last) and seed.

    Raises:
        UserError: a search is damaged, two are the same, or there is none.
    """
    if any(storage.exists(name) for name in (CONFIG, Ledger.FOLDER, PARQUET)):
        folders = {"": storage}
    else:
        folders = {
            name: storage.child(name) for name in storage.list() if _holds_search(storage, name)
        }
    if not folders:
        raise UserError(f"{storage.uri} holds no search; name the run directory of a study")
    configs = {name: read_config(folder) for name, folder in folders.items()}
    identities = identify(list(configs.values()))
    outcomes = []
    seen: dict[Identity, SearchOutcome] = {}
    for (name, config), identity in zip(configs.items(), identities, strict=True):
        outcome = _read_outcome(name or config.name, identity, config, folders[name])
        if (other := seen.setdefault(identity, outcome)) is not outcome:
            raise UserError(
                f"{other.name} and {outcome.name} in {storage.uri} are the same search "
                f"({identity.method} on {identity.model}, {identity.data}, fraction "
                f"{identity.fraction:g}, seed {identity.seed}); take one out of the folder"
            )
        outcomes.append(outcome)
    return sorted(outcomes, key=_order)


def methods_of(outcomes: Iterable[SearchOutcome]) -> list[str]:
    """The methods by name, those of this package last."""
    return sorted({outcome.identity.method for outcome in outcomes}, key=_method_order)


def is_own(method: str) -> bool:
    """Whether a method is one of this package's, not a baseline."""
    return method.startswith("revo-")


def _method_order(method: str) -> tuple[bool, str]:
    return is_own(method), method


def _order(outcome: SearchOutcome) -> tuple[Any, ...]:
    identity = outcome.identity
    seeds = [int(seed) for seed in identity.seed.split("/")]
    return (*outcome.cell, _method_order(identity.method), seeds)


def _holds_search(storage: Storage, name: str) -> bool:
    if name.startswith(".") or name == FOLDER:
        return False
    return any(storage.exists(f"{name}/{part}") for part in (CONFIG, Ledger.FOLDER, RESULT))


def read_config(folder: Storage) -> SearchConfig:
    """The configuration of a run directory.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        values, _ = read_yaml(folder.read(CONFIG))
        read_back(values)
        return SearchConfig.model_validate(values)
    except (FileNotFoundError, yaml.YAMLError, AttributeError, TypeError, ValueError):
        raise UserError(
            f"{folder.uri}/{CONFIG} is missing or damaged; restore it, or take the search out of "
            "the folder"
        ) from None


class _Best(BaseModel):
    val_loss: float | None
    val_accuracy: float | None
    val_auc: float | None


class _Result(BaseModel):
    best: _Best | None
    test: dict[str, float | None] | None
    evaluations: int
    statuses: dict[str, int]
    epochs: int
    images: int
    device_seconds: float


def _read_outcome(
    name: str, identity: Identity, config: SearchConfig, folder: Storage
) -> SearchOutcome:
    result = _read_result(folder)
    done = result is not None
    if result is None:
        result = _result_so_far(read_rows(folder))
    best, test = result.best, result.test
    return SearchOutcome(
        name=name,
        identity=identity,
        budget=config.search.budget,
        budget_evaluations=config.search.evaluations,
        budget_epochs=config.search.evaluations * config.train.epochs,
        evaluations=result.evaluations,
        epochs=result.epochs,
        images=result.images,
        device_seconds=result.device_seconds,
        statuses=result.statuses,
        validation=_scores(best.val_loss, best.val_accuracy, best.val_auc) if best else None,
        test=_scores(*(test.get(key) for key in ("loss", "accuracy", "auc"))) if test else None,
        done=done,
    )


def _read_result(folder: Storage) -> _Result | None:
    """The result, or None where the search has none that fits its ledger."""
    try:
        result = _Result.model_validate_json(folder.read(RESULT))
    except FileNotFoundError:
        return None
    except (ValueError, ValidationError):
        raise UserError(
            f"{folder.uri}/{RESULT} is damaged; restore it, or delete it and go on with --resume"
        ) from None
    rows = [row for row in folder.list(Ledger.FOLDER) if row.endswith(".json")]
    # A ledger may be thinned out for making rows again, or put away for its table.
    return result if not rows or len(rows) == result.evaluations else None


def read_rows(folder: Storage, *, table_first: bool = False) -> Sequence[Evaluation]:
    """The rows of a run directory, in proposal order, from its ledger or the ledger's table.

    Args:
        folder: the run directory.
        table_first: read the table where there is one, which is one request and not hundreds.

    Raises:
        UserError: one is damaged.
        OSError: the storage is unreachable.
    """
    rows = [] if table_first and folder.exists(PARQUET) else list(Ledger.load(folder))
    if rows or not folder.exists(PARQUET):
        return rows
    try:
        table = pq.read_table(io.BytesIO(folder.read(PARQUET)))
        free_form = ("sample", "plan")
        return [
            Evaluation.model_validate(row | {key: json.loads(row[key]) for key in free_form})
            for row in table.to_pylist()
        ]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(
            f"{folder.uri}/{PARQUET} is damaged; restore it, or put back the ledger's rows"
        ) from None


def _result_so_far(rows: Sequence[Evaluation]) -> _Result:
    best = min((row for row in rows if row.scored), key=lambda row: row.score, default=None)
    return _Result(
        best=_Best.model_validate(best.model_dump()) if best else None,
        test=None,
        evaluations=len(rows),
        statuses=dict(sorted(Counter(row.status for row in rows).items())),
        epochs=sum(row.epochs for row in rows),
        images=sum(row.images for row in rows),
        device_seconds=sum(row.seconds for row in rows),
    )


def _scores(*values: float | None) -> Scores:
    """NaN, which JSON of other writers may hold, says no more than None."""
    finite = (value if value is not None and math.isfinite(value) else None for value in values)
    return Scores(*finite)
