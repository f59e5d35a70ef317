"""What figures are drawn from: the searches of a folder with their rows, plans and records."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import yaml

from revo_ray.report.outcomes import (
    CONFIG,
    SearchOutcome,
    load_outcomes,
    read_config,
    read_rows,
)
from revo_ray.rundir.evaluation import Evaluation
from revo_ray.rundir.ledger import Ledger
from revo_ray.settings.deleted import read_back
from revo_ray.settings.safe_yaml import read_yaml
from revo_ray.settings.schema import SearchConfig
from revo_ray.storage import Storage

CARD = "best/config.json"


@dataclass(frozen=True)
class Run:
    """One search, with all that its run directory says.

    Attributes:
        folder: its run directory.
        outcome: what the tables know of it.
        config: what it was told.
        recorded: versions, revision and checksums, as `config.yaml` has them.
        rows: its ledger, in proposal order.
        units: the names of the network's units, input to head; numbers where nothing names them.
        torn: files of the ledger that hold no row.
    """

    folder: Storage
    outcome: SearchOutcome
    config: SearchConfig
    recorded: dict[str, Any]
    rows: list[Evaluation]
    units: list[str]
    torn: list[str]

    @property
    def best(self) -> Evaluation | None:
        """The row with the least validation loss; None without one."""
        return min((r for r in self.rows if r.scored), key=lambda row: row.score, default=None)

    @property
    def method(self) -> str:
        """The method, as the study calls it."""
        return self.outcome.identity.method

    @property
    def uninformed(self) -> list[Evaluation]:
        """The rows that were proposed before the searcher had learnt anything.

        All of a random search; of others the first generation, and what `lookahead` sampled of
        the second. Empty for methods without generations.
        """
        if self.config.method.name == "random":
            return self.rows
        ahead, search = 0, self.config.search
        found = []
        for row in self.rows:
            if row.generation == 0:
                found.append(row)
            elif row.generation == 1 and ahead < search.lookahead:
                ahead += 1
                found.append(row)
        return found


def load_runs(storage: Storage, outcomes: list[SearchOutcome] | None = None) -> list[Run]:
    """Read the searches of a study, or the one search that a folder holds.

    Args:
        storage: the folder.
        outcomes: of the same folder, where they are known.

    Raises:
        UserError: as `load_outcomes`.
        OSError: the storage is unreachable.
    """
    if outcomes is None:
        outcomes = load_outcomes(storage)
    alone = is_search(storage)
    return [_read_run(storage if alone else storage.child(o.name), o) for o in outcomes]


def load_run(folder: Storage) -> Run:
    """Read the one search that a folder holds.

    Raises:
        UserError: as `load_outcomes`.
    """
    (run,) = load_runs(folder)
    return run


def is_search(storage: Storage) -> bool:
    """Whether a folder is the run directory of one search."""
    return storage.exists(CONFIG)


def _read_run(folder: Storage, outcome: SearchOutcome) -> Run:
    # A finished search's table has the same rows; a store of objects is asked once for it.
    rows = list(read_rows(folder, table_first=outcome.done and folder.local is None))
    return Run(
        folder=folder,
        outcome=outcome,
        config=read_config(folder),
        recorded=_recorded(folder),
        rows=rows,
        units=_units(folder, rows),
        torn=[name for name in folder.list(Ledger.FOLDER) if name.endswith(".torn")],
    )


def _recorded(folder: Storage) -> dict[str, Any]:
    try:
        values, _ = read_yaml(folder.read(CONFIG))
        return read_back(values)[0]
    except (OSError, yaml.YAMLError, AttributeError):
        return {}


def _units(folder: Storage, rows: list[Evaluation]) -> list[str]:
    count = max((len(row.unit_lrs) for row in rows), default=0)
    try:
        names = json.loads(folder.read(CARD))["units"]
    except (OSError, ValueError, KeyError, TypeError):  # there is no best model yet
        names = next((list(row.sample) for row in rows if len(row.sample) == count), [])
    if len(names) == count:
        return [str(name) for name in names]
    return [f"unit {number}" for number in range(1, count + 1)]
