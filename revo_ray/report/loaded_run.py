"""Searches with their ledgers; figures are drawn from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from revo_ray.errors import UserError
from revo_ray.methods.genome import BASE_LR, GLOBAL_LR, TRAINS
from revo_ray.methods.recipe import GENES, WEIGHT_DECAY
from revo_ray.objective import Metric
from revo_ray.report.outcomes import SearchOutcome, load_outcomes
from revo_ray.rundir import Evaluation, RunDirectory
from revo_ray.settings.schema import SearchConfig

NOT_UNITS = {BASE_LR, GLOBAL_LR, WEIGHT_DECAY, *GENES}
"""Names of genes that belong to no unit."""


@dataclass(frozen=True)
class Run:
    """One search with its ledger.

    Attributes:
        outcome: settings, costs and scores.
        rows: the ledger, in proposal order.
        units: names of the network's units, input to head; numbers if no file names them.
        torn: names of ledger files that were cut short and set aside.
        is_named: whether `units` are names.
    """

    outcome: SearchOutcome
    rows: list[Evaluation]
    units: list[str]
    torn: list[str]
    is_named: bool = True

    @property
    def config(self) -> SearchConfig:
        """The configuration that the search was started with."""
        return self.outcome.config

    @property
    def objective(self) -> Metric:
        """The metric that the search optimises."""
        return self.outcome.objective

    @property
    def best(self) -> Evaluation | None:
        """The best row by the objective; None if no evaluation succeeded."""
        return self.objective.best(self.rows)

    @property
    def method(self) -> str:
        """The name of its method in the study."""
        return self.outcome.identity.method

    @property
    def swept(self) -> list[Evaluation]:
        """Rows of the sweep: its first generation, if the method has one."""
        return [row for row in self.rows if row.generation == 0 and self.config.has_sweep]

    @property
    def uninformed(self) -> list[Evaluation]:
        """Rows that were proposed before the searcher had learnt anything.

        All rows of a random search; otherwise the sweep, or the first generation with those behind
        it that `lookahead` sampled. Empty for methods without generations, and after a warm start.
        """
        search, method = self.config.search, self.config.method
        if method.name == "random":
            return self.rows
        if search.warm_start:
            return []
        end = search.population + search.lookahead
        first = (row for row in self.rows if row.generation is not None and row.evaluation < end)
        return self.swept or list(first)


def load_runs(outcomes: Iterable[SearchOutcome]) -> list[Run]:
    """Read the ledgers of searches.

    Raises:
        UserError: a ledger is damaged, or its plans have rates for different numbers of units.
        OSError: the storage is unreachable.
    """
    runs = []
    for outcome in outcomes:
        directory = outcome.directory
        # The table of a finished search holds all rows: one request to an object store.
        rows = list(directory.rows(table_first=outcome.done and directory.storage.local is None))
        if len({len(row.unit_lrs) for row in rows if row.unit_lrs}) > 1:
            raise UserError(
                f"{directory.ledger_uri} is damaged: its plans are for several networks"
            )
        count = max((len(row.unit_lrs) for row in rows), default=0)
        names = _names(directory, rows, count)
        units = names or [f"unit {number}" for number in range(1, count + 1)]
        runs.append(Run(outcome, rows, units, directory.torn_rows(), bool(names)))
    return _named_alike(runs)


def load_run(directory: RunDirectory) -> Run:
    """Read the search in a run directory.

    Raises:
        UserError: it is damaged.
        OSError: the storage is unreachable.
    """
    (run,) = load_runs(load_outcomes(directory))
    return run


def _names(directory: RunDirectory, rows: list[Evaluation], count: int) -> list[str]:
    """Names of the units, by the best model or else by a sample that has a gene for each."""
    try:
        names = [str(name) for name in directory.best.card()["units"]]
    except (UserError, TypeError):  # there is no best model yet, or it is damaged
        names = []
    if len(names) == count:
        return names
    sample = next((row.sample for row in rows if row.unit_lrs), {})
    names = [key for key in sample if key not in NOT_UNITS and not key.startswith(TRAINS)]
    return names if len(names) == count else []


def _named_alike(runs: list[Run]) -> list[Run]:
    """Give searches without names those of the first one of the same network that has them."""
    known: dict[tuple[str, int], list[str]] = {}
    for run in runs:
        if run.is_named:
            known.setdefault(_network(run), run.units)
    return [
        run
        if run.is_named
        else replace(run, units=found, is_named=True)
        if (found := known.get(_network(run)))
        else run
        for run in runs
    ]


def _network(run: Run) -> tuple[str, int]:
    return run.outcome.identity.model, len(run.units)
