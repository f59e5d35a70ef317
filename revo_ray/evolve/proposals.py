"""The determinism contract: what is proposed, in which order, whatever happens to the trials.

It stands above any ask/tell optimiser and below every searcher, and knows neither Ray nor
training. A generation is sampled whole and told whole, in proposal order, so the proposals depend
on the seed and on the values alone: not on how many workers there are, on who finishes first, or
on how often the search was interrupted.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from revo_ray.words import shown

Sample = dict[str, Any]

PROPOSAL_RULES = 1
"""Version of the proposals: a search can be resumed only under the one that it was started with."""

MOST_AHEAD = 3
"""Generations that may be sampled ahead: what keeps half as many workers as the population busy, up
to 1,024 of them, under log-normal times (`benchmarks.utilisation`)."""


class CandidateLike(Protocol):
    """What an optimiser hands out: a sample, and whatever it wants back with its value."""

    @property
    def sample(self) -> Sample:
        """Variable names to values."""
        ...


C = TypeVar("C", bound=CandidateLike)


class Optimiser(Protocol[C]):
    """Anything with ask and tell; it minimises."""

    @property
    def population_size(self) -> int | None:
        """Evaluations a generation; None for one without, which learns one by one or never."""
        ...

    def ask(self) -> C:
        """Sample one candidate from the current distribution."""
        ...

    def tell(self, solutions: list[tuple[C, float]]) -> None:
        """Learn from exactly `population_size` finite values; from one where that is None."""
        ...


@runtime_checkable
class Adopting(Protocol):
    """An optimiser without generations whose proposals depend on the order of the outcomes."""

    def adopt(self, sample: Sample) -> Any:
        """Take a recorded sample for the next one, as if `ask` had given it."""
        ...


@runtime_checkable
class Distributed(Protocol):
    """An optimiser that can say what it draws from."""

    def distribution(self) -> Mapping[str, Any]:
        """What the next samples are drawn from, for plots."""
        ...


@dataclass(frozen=True)
class Proposal:
    """One evaluation to be made.

    Attributes:
        evaluation: 0-based number, in proposal order.
        generation: 0-based, or None where the optimiser has none.
        sample: variable names to values.
        source: the finished evaluation of an equal sample whose result answers this one, or None
            where it must be run.
    """

    evaluation: int
    generation: int | None
    sample: Sample
    source: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of an evaluation.

    Attributes:
        value: lower is better; None, NaN and infinities are failures.
        reusable: whether an equal sample would end the same way.
    """

    value: float | None
    reusable: bool = True

    @property
    def failed(self) -> bool:
        """Whether there is no finite value."""
        return self.value is None or not math.isfinite(self.value)


class ReplayError(Exception):
    """The recorded evaluations are not those that this search would have proposed."""


class Proposals(Generic[C]):
    """Proposals of one search, in order, with lookahead, reuse and replay.

    So many candidates behind each generation as `lookahead` says are sampled before it is told,
    always that many, so that workers have something to do at the barrier.

    Args:
        optimiser: what samples candidates.
        key: equal keys mean equal samples (`Space.key`).
        budget: how many evaluations there are; None for no end.
        lookahead: candidates behind each generation that are sampled early, at most
            `MOST_AHEAD` generations.
        reuse: answer a sample that was evaluated before from that evaluation.

    Raises:
        ValueError: lookahead is negative or larger than `MOST_AHEAD` generations.

    Example:
        >>> while (proposal := proposals.ask()) is not None:          # doctest: +SKIP
        ...     proposals.tell(proposal.evaluation, Outcome(train(proposal.sample)))
    """

    def __init__(
        self,
        optimiser: Optimiser[C],
        key: Callable[[Sample], Hashable],
        *,
        budget: int | None = None,
        lookahead: int = 0,
        reuse: bool = False,
    ) -> None:
        population = optimiser.population_size
        if lookahead < 0 or (population is not None and lookahead > MOST_AHEAD * population):
            raise ValueError(
                f"lookahead is {lookahead}; it may be 0 to {MOST_AHEAD} times the population, "
                f"{population}"
            )
        self.optimiser = optimiser
        self.budget = budget
        self._key = key
        self._lookahead = lookahead
        self._reuse = reuse
        self._population = population
        self._candidates: list[C] = []
        self._ready: list[int] = []  # heap of evaluations that nobody works on
        self._outcomes: dict[int, Outcome] = {}
        self._recorded: Mapping[int, tuple[Sample, Outcome]] = {}  # by `replay`
        self._owners: dict[Hashable, int] = {}  # the evaluation that is run for a key
        self._waiting: dict[int, list[int]] = {}  # owner → equal samples that wait for it
        self._answered: list[Proposal] = []
        self._generations_told = 0
        self._worst: float | None = None  # of the values told one by one
        self._failed: list[C] = []  # before there was a worst one
        self.distributions: list[Mapping[str, Any]] = []
        """What each generation was drawn from (its first `lookahead` samples: the one before);
        empty for an optimiser without generations or without a distribution."""
        if population is not None:
            self._note_distribution()
            self._sample(population + lookahead)

    def unbound(self) -> None:
        """Take the budget away: somebody else says when it is enough."""
        if self.budget is not None:
            self._ready.extend(range(self.budget, len(self._candidates)))
            heapq.heapify(self._ready)
        self.budget = None

    @property
    def finished(self) -> bool:
        """Whether the whole budget has an outcome."""
        return self.budget is not None and len(self._outcomes) >= self.budget

    def generation_of(self, evaluation: int) -> int | None:
        """The generation that an evaluation belongs to."""
        return None if self._population is None else evaluation // self._population

    def first_dependent(self, evaluation: int) -> int | None:
        """The first evaluation that could not be proposed before this one had an outcome."""
        if self._population is None:
            return None
        return (evaluation // self._population + 1) * self._population + self._lookahead

    def ask(self) -> Proposal | None:
        """The next evaluation to run; None at the generation's barrier and at the budget's end.

        Equal samples do not come out here but in `take_answered`.
        """
        while True:
            if not self._ready and self._population is None and self._within_budget():
                self._sample(1)
            if not self._ready:
                return None
            evaluation = heapq.heappop(self._ready)
            if evaluation in self._outcomes:
                continue
            if self._reuse and not self._claim(evaluation):
                continue
            return self._proposal(evaluation)

    def requeue(self, evaluation: int) -> None:
        """Propose again an evaluation whose trial was lost; nothing where it has an outcome."""
        if evaluation not in self._outcomes and evaluation not in self._ready:
            heapq.heappush(self._ready, evaluation)

    def take_answered(self) -> list[Proposal]:
        """Proposals whose `source` answers them; each wants one `tell`, like any other."""
        answered, self._answered = self._answered, []
        return answered

    def tell(self, evaluation: int, outcome: Outcome) -> bool:
        """Record an outcome; a second one for the same evaluation changes nothing.

        Returns:
            Whether it was the first.

        Raises:
            ValueError: that evaluation was never sampled.
            ReplayError: as by `replay`.
        """
        if not 0 <= evaluation < len(self._candidates):
            raise ValueError(f"evaluation {evaluation} was never proposed")
        if evaluation in self._outcomes:
            return False
        self._outcomes[evaluation] = outcome
        for waiter in self._waiting.pop(evaluation, []):
            heapq.heappush(self._ready, waiter)
        if self._population is not None:
            self._close_generations(self._population)
        else:
            self._tell_one(self._candidates[evaluation], outcome)
        return True

    def replay(self, rows: Mapping[int, tuple[Sample, Outcome]]) -> None:
        """Bring a fresh instance to where recorded evaluations left off.

        Where rows are missing in the middle, those evaluations are proposed again, and the rows
        behind them are taken as soon as their generation is sampled.

        Raises:
            ReplayError: a row's sample is not the one proposed here, or there are rows beyond the
                budget. `tell` raises it too, where it samples a generation that is recorded.
        """
        beyond = len(rows) * 2 + 1000 if self.budget is None else self.budget
        if rows and max(rows) >= beyond:
            raise ReplayError(f"evaluation {max(rows)} is recorded, which is beyond the budget")
        if self._population is None and isinstance(self.optimiser, Adopting):
            self._adopt(rows, self.optimiser)
            return
        self._recorded = rows
        if self._population is None:
            self._sample(max(0, max(rows, default=-1) + 1 - len(self._candidates)))
            for evaluation in sorted(rows):
                self._recall(evaluation)
                self._tell_one(self._candidates[evaluation], rows[evaluation][1])
            return
        for evaluation in range(len(self._candidates)):
            self._recall(evaluation)
        self._close_generations(self._population)

    def _recall(self, evaluation: int) -> None:
        """Take the outcome that is recorded of a candidate, if there is one.

        Raises:
            ReplayError: it is recorded with another sample.
        """
        if evaluation not in self._recorded:
            return
        sample, outcome = self._recorded[evaluation]
        proposed = self._candidates[evaluation].sample
        if sample != proposed and not self._same(sample, proposed):
            raise ReplayError(
                f"evaluation {evaluation} is recorded with the sample {shown(sample, 120)}, but "
                f"this search proposes {shown(proposed, 120)}"
            )
        if self._reuse and outcome.reusable:
            self._owners.setdefault(self._key(proposed), evaluation)
        self._outcomes[evaluation] = outcome
        for waiter in self._waiting.pop(evaluation, []):
            heapq.heappush(self._ready, waiter)

    def _same(self, recorded: Sample, proposed: Sample) -> bool:
        try:
            return self._key(recorded) == self._key(proposed)
        except (ValueError, TypeError, LookupError, ArithmeticError):  # of another space
            return False

    def _adopt(self, rows: Mapping[int, tuple[Sample, Outcome]], optimiser: Adopting) -> None:
        """Take recorded samples as they are; who asks one by one has no order to check them by."""
        adopted: dict[int, C] = {}
        for evaluation in sorted(rows):
            sample, outcome = rows[evaluation]
            adopted[evaluation] = optimiser.adopt(sample)
            self._outcomes[evaluation] = outcome
            self._tell_one(adopted[evaluation], outcome)
            if outcome.reusable:
                self._owners.setdefault(self._key(sample), evaluation)
        for evaluation in range(max(rows, default=-1) + 1):
            if evaluation in adopted:
                self._candidates.append(adopted[evaluation])
            else:  # it was in flight
                self._sample(1)

    def _within_budget(self) -> bool:
        return self.budget is None or len(self._candidates) < self.budget

    def _sample(self, count: int) -> None:
        for _ in range(count):
            evaluation = len(self._candidates)
            self._candidates.append(self.optimiser.ask())
            if self.budget is None or evaluation < self.budget:
                heapq.heappush(self._ready, evaluation)

    def _proposal(self, evaluation: int, source: int | None = None) -> Proposal:
        sample = self._candidates[evaluation].sample
        return Proposal(evaluation, self.generation_of(evaluation), dict(sample), source)

    def _claim(self, evaluation: int) -> bool:
        """Whether this evaluation is the one to run for its key; else it waits or is answered."""
        key = self._key(self._candidates[evaluation].sample)
        owner = self._owners.get(key, evaluation)
        if owner != evaluation:
            outcome = self._outcomes.get(owner)
            if outcome is None:
                self._waiting.setdefault(owner, []).append(evaluation)
                return False
            if outcome.reusable:
                self._answered.append(self._proposal(evaluation, source=owner))
                return False
        self._owners[key] = evaluation
        return True

    def _close_generations(self, population: int) -> None:
        while True:
            first = self._generations_told * population
            members = range(first, first + population)
            if not all(member in self._outcomes for member in members):
                return
            self._tell_optimiser([(self._candidates[m], self._outcomes[m]) for m in members])
            self._generations_told += 1
            self._note_distribution()
            sampled = len(self._candidates)
            self._sample(population)
            for evaluation in range(sampled, len(self._candidates)):
                self._recall(evaluation)

    def _note_distribution(self) -> None:
        if isinstance(self.optimiser, Distributed):
            self.distributions.append(self.optimiser.distribution())

    def _tell_one(self, candidate: C, outcome: Outcome) -> None:
        """A failure becomes the worst finite value so far, as soon as there is one."""
        if outcome.failed or outcome.value is None:
            self._failed.append(candidate)
        else:
            self._worst = outcome.value if self._worst is None else max(outcome.value, self._worst)
            self.optimiser.tell([(candidate, outcome.value)])
        if self._worst is not None:
            for failed in self._failed:
                self.optimiser.tell([(failed, self._worst)])
            self._failed.clear()

    def _tell_optimiser(self, generation: list[tuple[C, Outcome]]) -> None:
        """Failures become the worst finite value: a tie, which infinities could not be."""
        finite = [o.value for _, o in generation if not o.failed and o.value is not None]
        if not finite or max(finite) == min(finite):
            return
        worst = max(finite)
        self.optimiser.tell(
            [(c, worst if o.failed or o.value is None else o.value) for c, o in generation]
        )
