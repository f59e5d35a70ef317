"""Outcomes of the searches in a study, finished or not; tables and statistics are made of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from revo_ray.errors import UserError
from revo_ray.objective import Metric, Scores
from revo_ray.report.search_names import Identity, identify
from revo_ray.rundir import Directory, RecordedConfig, RunDirectory, SearchResult
from revo_ray.settings.schema import SearchConfig

COSTS = ("evaluations", "epochs", "images", "device_seconds")


@dataclass(frozen=True)
class SearchOutcome:
    """One search of a study: its settings, its costs and its scores so far.

    Attributes:
        name: name of its run directory.
        identity: method, model, data, fraction and seed.
        directory: its run directory.
        recorded: its recorded configuration.
        result: costs so far, and the scores of the best evaluation.
        done: whether the search spent its whole budget.
    """

    name: str
    identity: Identity
    directory: RunDirectory
    recorded: RecordedConfig
    result: SearchResult
    done: bool

    @property
    def validation(self) -> Scores | None:
        """Scores of the best evaluation; None if none succeeded yet."""
        return self.result.validation_scores

    @property
    def test(self) -> Scores | None:
        """Scores of the best model, measured when the search ended; None before, or without one."""
        return self.result.test_scores

    @property
    def config(self) -> SearchConfig:
        """The configuration that the search was started with."""
        return self.recorded.config

    @property
    def objective(self) -> Metric:
        """The metric that the search optimises."""
        return self.config.search.metric

    @property
    def budget_evaluations(self) -> int:
        """The budget in evaluations."""
        return self.config.search.evaluations

    @property
    def budget_epochs(self) -> int:
        """The budget in epochs."""
        return self.config.search.evaluations * self.config.train.epochs

    @property
    def cell(self) -> tuple[str, str, float]:
        """Model, data and fraction. Searches of one cell differ by method and seed."""
        return self.identity.model, self.identity.data, self.identity.fraction

    @property
    def block(self) -> tuple[str, str, float, str]:
        """Cell and seed. Methods are paired by block."""
        return (*self.cell, self.identity.seed)

    @property
    def progress(self) -> str:
        """The spent part of the budget: `12/100`, or `24/200 epochs`."""
        if self.config.search.budget == "epochs":
            return f"{self.result.epochs}/{self.budget_epochs} epochs"
        return f"{self.result.evaluations}/{self.budget_evaluations}"

    @property
    def sweep_size(self) -> int:
        """Number of evaluations of the sweep so far; 0 if the method has none."""
        count = min(self.config.search.population, self.result.evaluations)
        return count if self.config.has_sweep else 0

    @property
    def spent_exactly(self) -> bool:
        """Whether it spent its budget, neither more nor less."""
        if self.result.evaluations == self.budget_evaluations:
            return True  # also with a budget of epochs, if no evaluation was stopped early
        by_epochs = self.config.search.budget == "epochs"
        return by_epochs and self.result.epochs == self.budget_epochs

    def score(self, metric: Metric) -> float | None:
        """A test score of a finished search; None if there is none."""
        return metric.value(self.test) if self.done and self.test else None


Outcomes = Sequence[SearchOutcome]


def load_outcomes(directory: Directory) -> list[SearchOutcome]:
    """Read the searches of a study, or the one search that a directory holds.

    Folders without a search are passed over. An unfinished search is read from its ledger.

    Returns:
        Outcomes by model, data, fraction, method (the revo methods last) and seed.

    Raises:
        UserError: a search is damaged, two are the same, or there is none.
        OSError: the storage is unreachable.
    """
    runs = {"": directory} if isinstance(directory, RunDirectory) else directory.runs()
    if not runs:
        raise UserError(f"{directory.uri} holds no search; name the run directory of a study")
    records = [run.config() for run in runs.values()]
    identities = identify([recorded.config for recorded in records])
    seen: dict[Identity, SearchOutcome] = {}
    for (name, run), recorded, identity in zip(runs.items(), records, identities, strict=True):
        result = run.outcome()
        so_far = result or run.outcome_so_far(recorded.config)
        name, done = name or recorded.config.name, so_far.spends(recorded.config.search.evaluations)
        outcome = SearchOutcome(name, identity, run, recorded, so_far, done)
        if (other := seen.setdefault(identity, outcome)) is not outcome:
            raise UserError(
                f"{other.name} and {outcome.name} in {directory.uri} are the same search "
                f"({identity.method} on {identity.model}, {identity.data}, fraction "
                f"{identity.fraction:g}, seed {identity.seed}); take one out of the folder"
            )
    return sorted(seen.values(), key=_order)


def methods_of(outcomes: Iterable[SearchOutcome]) -> list[str]:
    """Names of the methods, the revo methods last."""
    return sorted({outcome.identity.method for outcome in outcomes}, key=_method_order)


def objectives_of(outcomes: Iterable[SearchOutcome]) -> set[Metric]:
    """The objectives of the searches."""
    return {outcome.objective for outcome in outcomes}


def is_revo(method: str) -> bool:
    """Whether a method is a revo method, not a baseline."""
    return method.startswith("revo-")


def _method_order(method: str) -> tuple[bool, str]:
    return is_revo(method), method


def _order(outcome: SearchOutcome) -> tuple[Any, ...]:
    identity = outcome.identity
    seeds = [int(seed) for seed in identity.seed.split("/")]
    return (*outcome.cell, _method_order(identity.method), seeds)
