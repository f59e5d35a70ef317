"""The TensorBoard run of the search as a whole, made from its rows in proposal order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary

from revo_ray.monitor.tensorboard import events, series
from revo_ray.monitor.tensorboard.hyperparameters import Hyperparameters
from revo_ray.monitor.tensorboard.pages import Pages
from revo_ray.rundir.ledger import Evaluation, Ledger
from revo_ray.storage import Storage

if TYPE_CHECKING:
    from revo_ray.methods.genome import UnitLike

HISTOGRAMS = 64
"""The first so many generations have histograms; then fewer and fewer have, as `is_due` says."""

COSTS = ("evaluations", "epochs", "device_seconds")


class SearchCurves:
    """The run of the search as a whole.

    It is a function of the ledger in proposal order, so neither the order in which evaluations end
    nor an interruption leaves a trace: a row is shown as soon as all rows before it are there.

    Args:
        storage: the run directory.
        ledger: its rows.
        hyperparameters: of its evaluations.
        units: of the network, input to output.
        population: evaluations in a generation; other methods have groups of that size.
        evaluations: how many there will be, if that is known.
        distributions: what each generation was drawn from, as far as that is known (`CMAMV.
            distribution`); empty for a method that has none.
    """

    def __init__(
        self,
        storage: Storage,
        ledger: Ledger,
        hyperparameters: Hyperparameters,
        units: Sequence[UnitLike],
        *,
        population: int,
        evaluations: int | None,
        distributions: Sequence[Mapping[str, Any]],
    ) -> None:
        self._ledger = ledger
        self._hyperparameters = hyperparameters
        self._units = [unit.name for unit in units]
        self._population = population
        self._evaluations = evaluations
        self._distributions = distributions
        self._now = 0.0
        self._best: Evaluation | None = None
        self._failures = 0
        self._spent = dict.fromkeys(COSTS, 0.0)
        self._shown = dict.fromkeys(COSTS, 0)
        self._rates: list[list[float]] = []
        """Of this generation's samples."""
        self._pages = Pages(storage)
        self._stream = self._steps()
        self.advance()
        self._pages.drop_rest()

    def advance(self) -> None:
        """Write what follows from the rows that are there.

        Raises:
            OSError: the storage is full or unreachable.
        """
        while next(self._stream):
            pass
        self._pages.flush()

    def _steps(self) -> Iterator[bool]:
        """Add the events in their order; gives whether it went on, or waits for something."""
        has_distribution = bool(self._distributions)
        for number in itertools.count():
            generation, place = divmod(number, self._population)
            while has_distribution and place == 0 and generation >= len(self._distributions):
                yield False
            while number not in self._ledger:
                yield False
            row = self._ledger[number]
            self._now = max(self._now, row.finished_at)
            if number == 0:
                self._add_opening()
            if has_distribution and place == 0:
                self._add_distribution(generation, self._distributions[generation])
            self._add_row(row)
            if place == self._population - 1 or number + 1 == self._evaluations:
                self._add_generation(generation)
            yield True

    def _add_opening(self) -> None:
        layout = series.layout(
            len(self._distributions[0]["variables"]) if self._distributions else 0
        )
        values = [self._hyperparameters.experiment(self._now), events.layout(layout)]
        self._pages.add(Event(wall_time=self._now, summary=Summary(value=values)))

    def _add_row(self, row: Evaluation) -> None:
        improved = row.scored and (self._best is None or row.score < self._best.score)
        self._best = row if improved else self._best
        self._failures += not (row.scored or row.status == "stopped")
        rates = row.unit_lrs
        if len(rates) == len(self._units):
            self._rates.append(rates)
        for cost, spent in zip(COSTS, (1, row.epochs, row.seconds), strict=True):
            self._spent[cost] += spent
            if self._best is not None and (step := self._step(cost, improved)) is not None:
                self._pages.add(events.scalars(self._now, step, series.best(self._best, cost)))
        alone = {
            series.LOSS: row.val_loss,
            series.FROZEN: rates.count(0) / len(rates) if rates else None,
            series.FAILURES: float(self._failures),
        }
        self._pages.add(events.scalars(self._now, row.evaluation + 1, alone))

    def _step(self, cost: str, improved: bool) -> int | None:
        """The whole number that was spent by now, each once.

        Of several rows within one second the first is shown there, and another only where it is a
        better one: at the next second, by which the search had it.
        """
        step = max(math.ceil(self._spent[cost]), self._shown[cost] + improved)
        if step <= self._shown[cost]:
            return None
        self._shown[cost] = step
        return step

    def _add_distribution(self, generation: int, found: Mapping[str, Any]) -> None:
        """What this generation was drawn from."""
        means = np.array(list(found["positions"].values()))
        values: dict[str, float] = {series.SIGMA: found["sigma"]}
        if len(means):
            values[series.MEAN] = float(means.mean())
        if len(found["variables"]) <= series.FEW:
            values |= {
                f"{series.MEAN_OF}/{name}": mean
                for name, mean in found["variables"].items()
                if isinstance(mean, float)
            }
        event = events.scalars(self._now, generation, values)
        if len(means) and is_due(generation, HISTOGRAMS):
            event.summary.value.append(events.histogram(series.MEANS, means))
        self._pages.add(event)

    def _add_generation(self, generation: int) -> None:
        """How this generation's rates are distributed."""
        rates = np.array(self._rates, dtype=np.float64)  # (samples, units)
        self._rates = []
        if not rates.size or not is_due(generation, HISTOGRAMS):
            return
        logs = np.log10(rates, where=rates > 0, out=np.full_like(rates, np.nan))
        self._pages.add(self._histograms(generation, logs))

    def _histograms(self, generation: int, logs: np.ndarray) -> Event:
        """Of the rates that are not 0, all together and unit by unit; logs: (samples, units)."""
        width = len(str(len(self._units) - 1))
        tags = [f"{series.UNIT}/{i:0{width}}_{name}" for i, name in enumerate(self._units)]
        found = [(series.ALL_UNITS, logs.ravel()), *zip(tags, logs.T, strict=True)]
        finite = [(tag, values[np.isfinite(values)]) for tag, values in found]
        shown = [events.histogram(tag, values) for tag, values in finite if len(values)]
        return Event(wall_time=self._now, step=generation, summary=Summary(value=shown))


def is_due(generation: int, full: int) -> bool:
    """Whether a generation has a costly summary: all of the first `full`, then every 2nd, 4th, …

    So there are at most `full` · (1 + log2(generations / full) / 2) of them.
    """
    return generation % 2 ** (generation // full).bit_length() == 0
