"""The TensorBoard run of the search as a whole, made from its rows in proposal order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary

from revo_ray.methods import UnitLike
from revo_ray.monitor.tensorboard import events, tags
from revo_ray.monitor.tensorboard.event_files import EventFiles
from revo_ray.monitor.tensorboard.hyperparameters import Hyperparameters
from revo_ray.objective import METRICS
from revo_ray.rundir import Evaluation, Ledger
from revo_ray.storage import Storage

HISTOGRAMS = 64
"""The first so many generations have histograms; later ones ever fewer, see `has_histograms`."""


class SearchCurves:
    """Writes the run of the search as a whole.

    The run is a function of the ledger in proposal order: a row is shown as soon as all rows before
    it are there. So neither the order in which evaluations end nor an interruption leaves a trace.

    Args:
        storage: TensorBoard's folder in the run directory.
        ledger: the ledger, whose objective says which evaluation is the best.
        hyperparameters: the table of this search's evaluations.
        units: units of the network, input to output.
        population: evaluations in a generation. For methods without generations, evaluations that
            share a histogram.
        evaluations: number of evaluations that there will be; None if that is not known.
        variables: number of variables that the search varies.
        distributions: the search distribution of each generation, as far as known (`CMAMV.
            distribution`), an empty one for a sweep; no item if the method has none.
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
        variables: int,
        distributions: Sequence[Mapping[str, Any]],
    ) -> None:
        self._ledger = ledger
        self._hyperparameters = hyperparameters
        self._units = [unit.name for unit in units]
        self._population = population
        self._evaluations = evaluations
        self._variables = variables
        self._distributions = distributions
        self._now = 0.0
        self._best: Evaluation | None = None
        self._failures = 0
        self._spent = dict.fromkeys(tags.COSTS, 0.0)
        self._shown = dict.fromkeys(tags.COSTS, 0)
        self._rates: list[list[float]] = []  # of this generation's samples: (samples, units)
        self._files = EventFiles(storage)
        self._stream = self._steps()
        self.advance()
        self._files.drop_rest()

    def advance(self) -> None:
        """Write what follows from the rows that are there.

        Raises:
            OSError: the storage is full or unreachable.
        """
        while next(self._stream):
            pass
        self._files.flush()

    def _steps(self) -> Iterator[bool]:
        """Add the events in their order; yields True after a row, False while one is missing."""
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
            if has_distribution and place == 0 and self._distributions[generation]:
                self._add_distribution(generation, self._distributions[generation])
            self._add_row(row)
            if place == self._population - 1 or number + 1 == self._evaluations:
                self._add_histograms(generation)
            yield True

    def _add_opening(self) -> None:
        variables = self._variables if self._distributions else 0
        sweep = bool(self._distributions) and not self._distributions[0]
        layout = tags.layout(self._ledger.objective, variables, sweep)
        values = [self._hyperparameters.experiment(self._now), events.layout(layout)]
        self._files.add(Event(wall_time=self._now, summary=Summary(value=values)))

    def _add_row(self, row: Evaluation) -> None:
        objective, metrics = self._ledger.objective, METRICS.values()
        improved = objective.is_better(row, self._best)
        self._best = row if improved else self._best
        self._failures += not (objective.counts(row) or row.status == "stopped")
        rates = row.unit_lrs
        if len(rates) == len(self._units):
            self._rates.append(rates)
        for cost, spent in zip(tags.COSTS, (1, row.epochs, row.seconds), strict=True):
            self._spent[cost] += spent
            if self._best is not None and (step := self._step(cost, improved)) is not None:
                scores = self._best.scores
                best = {tags.best(metric, cost): metric.value(scores) for metric in metrics}
                self._files.add(events.scalars(self._now, step, best))
        scores = row.scores
        alone = {tags.each(metric): metric.value(scores) for metric in metrics}
        alone[tags.FROZEN] = rates.count(0) / len(rates) if rates else None
        alone[tags.FAILURES] = float(self._failures)
        self._files.add(events.scalars(self._now, row.evaluation + 1, alone))

    def _step(self, cost: str, improved: bool) -> int | None:
        """The amount spent by now, rounded up; None if a point is there already.

        The first of several rows within one second has the point there. Another one has the next
        second, by which the search had it, and only if it is better.
        """
        step = max(math.ceil(self._spent[cost]), self._shown[cost] + improved)
        if step <= self._shown[cost]:
            return None
        self._shown[cost] = step
        return step

    def _add_distribution(self, generation: int, found: Mapping[str, Any]) -> None:
        """Add the distribution that a generation was drawn from."""
        means = np.array(list(found["positions"].values()))
        values: dict[str, float] = {tags.SIGMA: found["sigma"]}
        if len(means):
            values[tags.MEAN] = float(means.mean())
        if len(found["variables"]) <= tags.FEW:
            known = {k: v for k, v in found["variables"].items() if isinstance(v, float)}
            values |= {f"{tags.MEAN_OF}/{name}": mean for name, mean in known.items()}
        event = events.scalars(self._now, generation, values)
        if len(means) and has_histograms(generation):
            event.summary.value.append(events.histogram(tags.MEANS, means))
        self._files.add(event)

    def _add_histograms(self, generation: int) -> None:
        """Add a generation's rates that are not 0, of all units together and of each unit."""
        rates = np.array(self._rates, dtype=np.float64)  # (samples, units)
        self._rates = []
        if not rates.size or not has_histograms(generation):
            return
        logs = np.log10(rates, where=rates > 0, out=np.full_like(rates, np.nan))
        width = len(str(len(self._units) - 1))
        names = [f"{tags.UNIT}/{i:0{width}}_{name}" for i, name in enumerate(self._units)]
        found = [(tags.ALL_UNITS, logs.ravel()), *zip(names, logs.T, strict=True)]
        finite = [(tag, values[np.isfinite(values)]) for tag, values in found]
        shown = [events.histogram(tag, values) for tag, values in finite if len(values)]
        self._files.add(Event(wall_time=self._now, step=generation, summary=Summary(value=shown)))


def has_histograms(generation: int) -> bool:
    """Whether a generation has histograms: the first `HISTOGRAMS`, then every 2nd, 4th, …

    So there are at most `HISTOGRAMS` · (1 + log2(generations / `HISTOGRAMS`) / 2) of them.
    """
    return generation % 2 ** (generation // HISTOGRAMS).bit_length() == 0
