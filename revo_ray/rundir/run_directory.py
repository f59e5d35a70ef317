"""`RunDirectory`: all the files of one search, opened once per command and handed on."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar, Self

from revo_ray.errors import UserError
from revo_ray.objective import LOSS, Metric
from revo_ray.rundir import ledger, outcome, recorded_config, warm_start
from revo_ray.rundir.bounded import read_table
from revo_ray.rundir.evaluation import Evaluation
from revo_ray.rundir.forms import FORMS, Form, StoredForm, read_form
from revo_ray.rundir.kept_models import KeptModels
from revo_ray.rundir.ledger import Ledger, LedgerTail
from revo_ray.rundir.lock import RunLock
from revo_ray.rundir.model_folder import ModelFolder
from revo_ray.rundir.outcome import SearchResult
from revo_ray.rundir.predictions import FOLDER as PREDICTIONS
from revo_ray.rundir.predictions import Predictions
from revo_ray.rundir.recorded_config import RecordedConfig
from revo_ray.rundir.warm_start import WarmStart
from revo_ray.settings.safe_json import read_json
from revo_ray.settings.schema import SearchConfig
from revo_ray.storage import ABANDONED_SECONDS, Storage

if TYPE_CHECKING:
    from torch import Tensor

REPORT = "report"
TRACKING = "tracking.json"
TENSORBOARD = "tensorboard"
_ID = re.compile("[0-9a-f]{12}")
"""Matches the id of a search; trackers make file names of it."""


class Folder:
    """The folder of a search or of a study. It need not exist yet.

    Args:
        storage: the folder, or its path or URI.

    Raises:
        UserError: no file system can open the URI, or it holds credentials.
    """

    CONFIG: ClassVar[str]
    """Name of the configuration's file, for messages."""

    def __init__(self, storage: Storage | str) -> None:
        self.storage = Storage(storage) if isinstance(storage, str) else storage.as_root

    @classmethod
    def of(cls, config: SearchConfig) -> Self:
        """The folder of a configured search or study."""
        return cls(Storage(config.storage).child(config.name))

    @property
    def uri(self) -> str:
        """Its absolute path, or its URI."""
        return self.storage.uri

    @property
    def exists(self) -> bool:
        """Whether a search or a study was begun here: its configuration is recorded."""
        return self.storage.exists(self.CONFIG)

    def config_text(self) -> str:
        """The file of the recorded configuration.

        Raises:
            OSError: it is missing, or the storage is unreachable.
        """
        return self.storage.read(self.CONFIG).decode("utf-8", "replace")

    @property
    def report(self) -> Storage:
        """The folder that `revo-ray report` writes."""
        return self.storage.child(REPORT)

    def delete_leftovers(self) -> None:
        """Delete the temporary files that a killed process left; call it while holding the lock.

        Raises:
            OSError: the storage is unreachable.
            UserError: a folder is a link, which leads to files that are not this search's.
        """
        self.storage.delete_leftovers()
        with suppress(UserError):  # a report takes no lock; nothing of a search goes through a link
            self.storage.delete_leftovers(REPORT, below=True, age=ABANDONED_SECONDS)

    def lock(
        self, say: Callable[[str], None] | None = None, *, within: RunLock | None = None
    ) -> RunLock:
        """Hold the folder for this process; see `RunLock`.

        Raises:
            UserError: another process holds it, or the storage cannot be written.
        """
        return RunLock(self.storage, say, within=within)


class RunDirectory(Folder):
    """The files of one search, each as a typed thing. No other module knows their names.

    Example:
        >>> run = RunDirectory("revo_results/search")            # doctest: +SKIP
        >>> run.config().config.search.evaluations               # doctest: +SKIP
        >>> run.ledger().best.plan                               # doctest: +SKIP
    """

    CONFIG = recorded_config.FILE

    def __init__(self, storage: Storage | str) -> None:
        super().__init__(storage)
        self.best = ModelFolder(self.storage, "best")
        """The best model so far."""
        self.plain = ModelFolder(self.storage, "plain")
        """The best model so far that was fine-tuned at one rate."""
        self.soup = ModelFolder(self.storage, "soup")
        """The mean of the weights of several models, made when the search ends."""
        self.ensemble = ModelFolder(self.storage, "ensemble")
        """The description of the ensemble, made when the search ends."""
        self.models = KeptModels(self.storage, "models")
        """The weights of the best few evaluations."""
        self.members = KeptModels(self.storage, "ensemble")
        """The weights of the ensemble's members that are not in `models`."""
        self.predictions = Predictions(self.storage)
        """The answers of evaluations and forms on validation and test images."""

    @property
    def is_search(self) -> bool:
        """Whether there is any part of a search, with or without its configuration."""
        names = (recorded_config.FILE, Ledger.FOLDER, ledger.TABLE, outcome.FILE)
        return any(self.storage.exists(name) for name in names)

    # configuration

    def config(self) -> RecordedConfig:
        """The recorded configuration.

        Raises:
            UserError: it is missing or damaged.
            OSError: the storage is unreachable.
        """
        return recorded_config.read_config(self.storage)

    def write_config(
        self,
        config: SearchConfig,
        checksums: Mapping[str, str | None],
        rules: Mapping[str, int],
        hub_revision: str | None = None,
    ) -> None:
        """Record the configuration; see `recorded_config.write_config`."""
        recorded_config.write_config(self.storage, config, checksums, rules, hub_revision)

    def check_config(
        self, config: SearchConfig, checksums: Mapping[str, str | None], rules: Mapping[str, int]
    ) -> bool:
        """Compare a resumed search with the recorded one; see `recorded_config.check_config`."""
        return recorded_config.check_config(self.storage, config, checksums, rules)

    def record_growth(self, evaluations: int) -> None:
        """Raise the recorded `search.evaluations`; see `recorded_config.record_growth`."""
        recorded_config.record_growth(self.storage, evaluations)

    def warm_start(self, units: int) -> WarmStart:
        """Read the recorded warm start; see `warm_start.read_warm_start`."""
        return warm_start.read_warm_start(self.storage, units)

    def write_warm_start(self, found: WarmStart) -> None:
        """Record the warm start; see `warm_start.write_warm_start`."""
        warm_start.write_warm_start(self.storage, found)

    # ledger

    @property
    def ledger_uri(self) -> str:
        """The folder of the rows."""
        return self.storage.child(Ledger.FOLDER).uri

    @property
    def table_uri(self) -> str:
        """The table of the rows, written when the search ends."""
        return self.storage.child(ledger.TABLE).uri

    @property
    def has_rows(self) -> bool:
        """Whether anything is in the ledger, rows that were cut short included."""
        return bool(self.storage.list(Ledger.FOLDER))

    @property
    def has_evaluations(self) -> bool:
        """Whether an evaluation has ended here, also where the ledger was put away since."""
        return self.has_rows or any(map(self.storage.exists, (ledger.TABLE, outcome.FILE)))

    def count_rows(self) -> int:
        """Number of row files; none of them is read."""
        return len(ledger.row_files(self.storage))

    def torn_rows(self) -> list[str]:
        """Names of the row files that were cut short and set aside."""
        return [name for name in self.storage.list(Ledger.FOLDER) if name.endswith(".torn")]

    def ledger(self, objective: Metric = LOSS) -> Ledger:
        """Read the ledger.

        Args:
            objective: the metric that says which row is the best.

        Raises:
            UserError: a row was edited.
            OSError: the storage is unreachable.
        """
        return Ledger.load(self.storage, objective)

    def tail(self) -> LedgerTail:
        """Follow a ledger that another process writes."""
        return LedgerTail(self.storage)

    def rows(self, *, table_first: bool = False) -> Sequence[Evaluation]:
        """The rows in proposal order, from the ledger or from its table.

        Args:
            table_first: read the table if there is one: one request in place of hundreds.

        Raises:
            UserError: a row or the table is damaged.
            OSError: the storage is unreachable.
        """
        has_table = self.storage.exists(ledger.TABLE)
        rows = [] if table_first and has_table else list(self.ledger())
        if rows or not has_table:
            return rows
        try:
            table = read_table(self.storage.read(ledger.TABLE))
            free_form = ("sample", "plan")
            return [
                Evaluation.model_validate(row | {key: read_json(row[key]) for key in free_form})
                for row in table.to_pylist()
            ]
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError(
                f"{self.table_uri} is damaged; restore it, or put back the ledger's rows"
            ) from None

    # outcome

    def outcome(self) -> SearchResult | None:
        """The outcome; None if the search has not ended, or has new rows since.

        A ledger may have been put away after its table was written; its outcome then stands.

        Raises:
            UserError: it is damaged.
            OSError: the storage is unreachable.
        """
        found = outcome.read_outcome(self.storage)
        return found if found and self.count_rows() in (0, found.evaluations) else None

    def outcome_so_far(self, config: SearchConfig) -> SearchResult:
        """The outcome of an unfinished search: its rows added up, without a test.

        Raises:
            UserError: a row is damaged.
            OSError: the storage is unreachable.
        """
        return SearchResult.of_rows(config.name, self.uri, self.rows(), config.search.metric)

    @property
    def earlier_looks(self) -> int:
        """Looks at the test images that an earlier version counted, which kept no predictions."""
        try:
            last = outcome.read_outcome(self.storage)
        except UserError:  # it is damaged, and about to be written again
            return 0
        if last is None:
            return 0
        return last.test_looks - sum(found.looks for found in last.forms.values())

    def looks(self, form: Form) -> int:
        """Number of times that a form was tested, by the last outcome written."""
        try:
            last = outcome.read_outcome(self.storage)
        except UserError:
            return 0
        return last.forms[form].looks if last is not None and form in last.forms else 0

    def write_outcome(self, result: SearchResult) -> None:
        """Write the outcome.

        Raises:
            OSError: the storage is full or unreachable.
        """
        outcome.write_outcome(self.storage, result)

    def form(self, name: Form) -> StoredForm | None:
        """Find a form of the result; None if it has not been made.

        Raises:
            UserError: its description is damaged.
            OSError: the storage is unreachable.
        """
        return read_form(self.storage, name)

    def delete_forms_of_others(self, evaluations: Collection[int]) -> None:
        """Delete forms, and their tests, that other evaluations than these have a part in.

        The number of a row that was taken back may come again, with other weights.

        Raises:
            OSError: the storage is unreachable.
            UserError: a folder is a link, which leads to files that are not this search's.
        """
        for folder in (self.best, self.plain, self.ensemble, self.soup):
            if not folder.sources <= set(evaluations):
                folder.delete()
        self.members.delete_others(evaluations)
        self.predictions.delete_tests_of_others(evaluations)

    def write_weights(self, folder: str, weights: Mapping[str, Tensor], evaluation: int) -> None:
        """Write the weights of an evaluation into one of the folders of models.

        Raises:
            OSError: the storage is full or unreachable.
        """
        folders = (self.models, self.members, self.best, self.plain)
        {each.folder: each for each in folders}[folder].write(weights, evaluation)

    def holds(self, result: SearchResult) -> bool:
        """Whether the weights of the forms of an outcome are all there.

        Raises:
            UserError: the description of a form is damaged.
            OSError: the storage is unreachable.
        """
        if result.best is not None and self.best.owner != result.best["evaluation"]:
            return False
        forms = [self.form(name) for name in FORMS if name in result.forms]
        return all(form is not None and form.complete for form in forms)

    def model_files(self, name: str) -> list[str]:
        """Paths of the files that a form of the result needs, in this folder.

        A folder that holds them alone can be loaded like the run directory.

        Raises:
            UserError: its description is damaged.
            OSError: the storage is unreachable.
        """
        form = next((self.form(known) for known in FORMS if known == name), None)
        return [] if form is None else [recorded_config.FILE, outcome.FILE, *form.files]

    # the folder

    def tracking_id(self) -> str:
        """The id by which trackers know this search, made when it is first asked for.

        It goes with the folder: a moved search stays the same one, and a new search in the place
        of a deleted one is another.

        Raises:
            OSError: the storage is full or unreachable.
        """
        try:
            found = read_json(self.storage.read(TRACKING))["id"]
            if isinstance(found, str) and _ID.fullmatch(found):
                return found
        except (FileNotFoundError, ValueError, LookupError, TypeError):
            pass
        made = uuid.uuid4().hex[:12]
        self.storage.write(TRACKING, json.dumps({"id": made}).encode())
        return made

    def delete_leftovers(self) -> None:
        """Delete the temporary files that a killed process left; see `Folder.delete_leftovers`."""
        super().delete_leftovers()
        for folder in (Ledger.FOLDER, self.models.folder, PREDICTIONS, *FORMS):
            self.storage.delete_leftovers(folder)
        self.storage.delete_leftovers(TENSORBOARD, below=True)

    @property
    def tensorboard(self) -> Storage:
        """The folder of TensorBoard's files."""
        return self.storage.child(TENSORBOARD)


def run_directories(storage: Storage) -> dict[str, RunDirectory]:
    """The run directories in a folder, by name; folders that hold no search are passed over."""
    found = {
        name: RunDirectory(storage.child(name))
        for name in storage.list()
        if not name.startswith(".") and name != REPORT
    }
    return {name: run for name, run in found.items() if run.is_search}
