"""Repeats: each evaluation of a search as several trials, and the mean of their values."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from revo_ray.evolve.proposals import Outcome, Proposals, ReplayError
from revo_ray.evolve.space import Sample

Repeat = tuple[int, int]
"""Evaluation and index of one of its trials, both from 0."""


class Repeats:
    """Hands out each proposal `count` times, and tells its mean once all of these have ended.

    The mean is over the repeats that have a finite value. An evaluation of which none has one
    counts as failed.

    Args:
        proposals: the proposals of the search.
        count: trials for each evaluation.
    """

    def __init__(self, proposals: Proposals[Any], count: int) -> None:
        self._ended: dict[int, dict[int, float | None]] = {}  # values by evaluation and index
        self._proposals = proposals
        self._count = count
        self._samples: dict[int, Sample] = {}
        self._ready: list[Repeat] = []

    def ask(self) -> tuple[Repeat, Sample] | None:
        """The next trial to run; None at the generation's barrier."""
        if not self._ready:
            proposal = self._proposals.ask()
            if proposal is None:
                return None
            self._open(proposal.evaluation, proposal.sample, range(self._count))
        repeat = heapq.heappop(self._ready)
        return repeat, self._samples[repeat[0]]

    def requeue(self, repeat: Repeat) -> None:
        """Hand a trial out again, because it was lost."""
        heapq.heappush(self._ready, repeat)

    def end(self, repeat: Repeat, value: float | None) -> tuple[Sample, Outcome] | None:
        """Take the value of a trial; None or no finite one is a failure.

        Returns:
            Sample and outcome of its evaluation, which is told, if this was its last trial.
        """
        evaluation, index = repeat
        values = self._ended.setdefault(evaluation, {})
        values[index] = Outcome(value).finite
        if len(values) < self._count:
            return None
        found = [values[i] for i in sorted(values)]
        del self._ended[evaluation]
        outcome = Outcome(_mean([value for value in found if value is not None]))
        self._proposals.tell(evaluation, outcome)
        return self._samples.pop(evaluation), outcome

    def partial(self) -> Iterator[tuple[Repeat, Sample, float | None]]:
        """The trials that have ended while others of their evaluations have not, with values."""
        for evaluation, values in self._ended.items():
            for index, value in values.items():
                yield (evaluation, index), self._samples[evaluation], value

    def resume(
        self,
        told: Mapping[int, object],
        given: Mapping[int, object],
        live: Mapping[Repeat, Sample],
        ended: Mapping[Repeat, tuple[Sample, float | None]],
    ) -> None:
        """Take up the evaluations that were not told when the proposals' state was saved.

        Those of live and ended trials are asked for; the others are asked for later.

        Args:
            told: evaluations that have an outcome, which the proposals have replayed.
            given: evaluations whose samples were given, and may have an outcome before their time.
            live: samples of the trials that run.
            ended: samples and values of the trials that have ended.

        Raises:
            ReplayError: an evaluation is told or open that could not be proposed, or not so.
        """
        opened: dict[int, list[Sample]] = {}
        for (evaluation, index), sample in [*live.items(), *((r, e[0]) for r, e in ended.items())]:
            if not 0 <= index < self._count:
                raise ReplayError(f"evaluation {evaluation} has no trial {index}")
            opened.setdefault(evaluation, []).append(sample)
        missing = next(n for n in range(len(told) + 1) if n not in told)
        beyond = self._proposals.first_dependent(missing)
        last = max((n for n in told if n not in given), default=-1)
        if beyond is not None and last >= beyond:
            raise ReplayError("it has values that no trial can have had")
        seen, again = {*live, *ended}, []
        while opened and (proposal := self._proposals.ask()) is not None:
            number = proposal.evaluation
            samples = opened.pop(number, [])
            for sample in samples:
                self._proposals.check(number, sample)
            if samples:
                rest = [i for i in range(self._count) if (number, i) not in seen]
                if not rest and all((number, i) in ended for i in range(self._count)):
                    raise ReplayError(f"evaluation {number} has ended and no value")
                self._open(number, samples[0], rest)
            else:
                again.append(number)
        if opened:
            raise ReplayError(f"a trial is live with evaluation {min(opened)}, not proposed yet")
        for number in again:
            self._proposals.requeue(number)
        for (number, index), (_, value) in ended.items():
            self._ended.setdefault(number, {})[index] = value

    def _open(self, evaluation: int, sample: Sample, indices: Iterable[int]) -> None:
        self._samples[evaluation] = sample
        for index in indices:
            heapq.heappush(self._ready, (evaluation, index))


def _mean(values: list[float]) -> float | None:
    """The mean, in an order of its own, so that it does not depend on which trial ended first."""
    return math.fsum(value / len(values) for value in values) if values else None
