"""The weights that a search keeps: of the best few rows, the best one, and the best plain one."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from revo_ray.objective import Metric, Rank
from revo_ray.rundir.evaluation import Evaluation
from revo_ray.rundir.kept_models import best_rows
from revo_ray.rundir.model_folder import ModelFolder
from revo_ray.rundir.run_directory import RunDirectory


class BestFew:
    """Keeps `models/`, `best/` and `plain/` at what follows from the ledger's rows.

    A worker writes the weights of an evaluation to `models/` before its row is written, if they may
    be kept. When the row is there, they are copied to `best/` or `plain/` if it is the best, and
    the file that fell out of the best few is deleted.

    Args:
        run: the run directory.
        objective: the metric that ranks rows.
        count: number of rows whose weights are kept.
        card: what is needed to load a model of this search.
        swept: whether an evaluation of a generation has one rate for all layers.
    """

    def __init__(
        self,
        run: RunDirectory,
        objective: Metric,
        count: int,
        card: Mapping[str, Any],
        swept: Callable[[int | None], bool],
    ) -> None:
        self.rows: list[Evaluation] = []
        """The best rows with weights of their own, the best first."""
        self.plain: Evaluation | None = None
        """The best row of the sweep."""
        self.objective = objective
        self._run, self._count = run, count
        self._card, self._swept = card, swept

    def begin(self, rows: Iterable[Evaluation]) -> None:
        """Take in the rows of a resumed search; `tidy` then finishes what it had begun."""
        rows = list(rows)
        self.rows = best_rows(rows, self.objective, self._count)
        self.plain = self.objective.best(row for row in rows if self._swept(row.generation))

    def limit(self, generation: int | None) -> Rank | None:
        """The rank below which an evaluation's weights may be kept; None: any may."""
        limits = [self.rows[-1]] if len(self.rows) == self._count else []
        if self._swept(generation) and limits:
            limits = [] if self.plain is None else [*limits, self.plain]
        return max(map(self.objective.rank_of, limits), default=None)

    def add(self, row: Evaluation, wrote: bool) -> None:
        """Take in a new row, which is in the ledger.

        Args:
            row: the new row.
            wrote: whether a worker wrote its weights.
        """
        models, number = self._run.models, row.evaluation
        if self._swept(row.generation) and self.objective.is_better(row, self.plain):
            self.plain = row
            self._run.plain.take(row, models.path(number), self._card)
        if self.objective.has_weights(row):
            insort(self.rows, row, key=self.objective.rank_of)
        if self.rows and self.rows[0] is row:
            self._run.best.take(row, models.path(number), self._card)
        fallen = self.rows[self._count :]
        del self.rows[self._count :]
        for each in fallen:
            models.delete(each.evaluation)
        if wrote and row not in self.rows:
            models.delete(number)

    def tidy(self) -> None:
        """Describe the best models, and delete files that follow from no row; nothing may run.

        Raises:
            UserError: a folder is a link, which leads to files that are not this search's.
            OSError: the storage is full or unreachable.
        """
        models = self._run.models
        for row, folder in self._chosen():
            folder.take(row, models.path(row.evaluation), self._card)
        models.delete_others([row.evaluation for row in self.rows])

    def missing(self) -> list[tuple[Evaluation, str]]:
        """Kept rows whose weights are not stored, each with the folder that lacks them."""
        models = self._run.models
        lost = [(row, models.folder) for row in self.rows if not models.holds(row.evaluation)]
        plain, folder = self.plain, self._run.plain
        if plain is None or plain in self.rows or folder.owner == plain.evaluation:
            return lost
        return [*lost, (plain, folder.folder)]

    def _chosen(self) -> list[tuple[Evaluation, ModelFolder]]:
        chosen = [] if not self.rows else [(self.rows[0], self._run.best)]
        return chosen + ([] if self.plain is None else [(self.plain, self._run.plain)])
