"""Proposals of one search: the determinism contract, whatever happens to the trials.

They stand between any ask/tell optimiser and the searcher of Ray Tune, and know neither Ray nor
training. A generation is sampled whole and told whole, in proposal order. So the proposals are a
function of the seed and the values: the number of workers, the order in which trials finish and
interruptions change nothing.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic

from revo_ray.evolve.duplicates import Duplicates
from revo_ray.evolve.optimiser import Adopting, C, Distributed, Opening, Optimiser
from revo_ray.evolve.space import Sample, Space
from revo_ray.evolve.told_values import OneByOne, generation_values
from revo_ray.evolve.told_values import Outcome as Outcome
from revo_ray.words import shown

PROPOSAL_RULES = 2
"""Version of the proposals: a search can be resumed only under the one that it was started with."""

ROUNDING = 1e-9
"""Largest distance between a recorded real number and the proposed one, in widths of its scale. Two
kinds of CPU round differently, and are less than 1e-12 apart after a hundred generations."""

MOST_AHEAD = 3
"""Generations that may be sampled ahead. Three keep half as many workers as the population busy, up
to 1,024 of them, under log-normal times (`benchmarks.utilisation`)."""


class ReplayError(Exception):
    """The recorded evaluations are not those that this search would have proposed."""


@dataclass(frozen=True)
class Proposal:
    """One evaluation to be made.

    Attributes:
        evaluation: 0-based number, in proposal order.
        generation: 0-based, or None if the optimiser has no generations.
        sample: variable names to values.
        source: the finished evaluation of an equal sample whose result answers this one, or None
            if this one must be run.
    """

    evaluation: int
    generation: int | None
    sample: Sample
    source: int | None = None


class Proposals(Generic[C]):
    """Proposals of one search, in order, with lookahead, reuse and replay.

    Exactly `lookahead` candidates behind each generation are sampled before that generation is
    told, so that workers have something to do at the barrier; but none behind the first generation
    of an optimiser with an opening.

    Args:
        optimiser: samples the candidates.
        space: the variables of the samples.
        budget: number of evaluations; None for no end.
        lookahead: candidates behind each generation that are sampled early, at most
            `MOST_AHEAD` generations.
        reuse: answer a sample that was evaluated before from that evaluation.

    Raises:
        TypeError: something else is given for the space.
        ValueError: lookahead is negative or larger than `MOST_AHEAD` generations.

    Example:
        >>> while (proposal := proposals.ask()) is not None:          # doctest: +SKIP
        ...     proposals.tell(proposal.evaluation, Outcome(train(proposal.sample)))
    """

    def __init__(
        self,
        optimiser: Optimiser[C],
        space: Space,
        *,
        budget: int | None = None,
        lookahead: int = 0,
        reuse: bool = False,
    ) -> None:
        if not isinstance(space, Space):
            raise TypeError(f"Proposals takes the space itself, such as `space`, not {space!r}")
        population = optimiser.population_size
        if lookahead < 0 or (population is not None and lookahead > MOST_AHEAD * population):
            raise ValueError(
                f"lookahead is {lookahead}; it may be 0 to {MOST_AHEAD} times the population, "
                f"{population}"
            )
        self.optimiser = optimiser
        self.budget = budget
        self._space = space
        self._lookahead = lookahead
        self._reuse = reuse
        self._population = population
        self._candidates: dict[int, C] = {}  # those that the optimiser has not been told
        self._sampled = 0
        self._tolerances: dict[int, float] = {}  # of each candidate, for its real numbers
        self._ready: list[int] = []  # heap of evaluations that nobody works on
        self._outcomes: dict[int, Outcome] = {}
        self._recorded: dict[int, tuple[Sample, Outcome]] = {}  # by `replay` and `expect`
        self._duplicates = Duplicates()
        self._answered: list[Proposal] = []
        self._generations_told = 0
        self._one_by_one = OneByOne(optimiser)
        self.distributions: list[Mapping[str, Any]] = []
        """Distribution of each generation (its first `lookahead` samples came from the one before);
        an empty one for an opening, and none for an optimiser without generations or without a
        distribution."""
        if population is not None:
            self._note_distribution()
            self._sample(population if self._opens else population + lookahead)

    def unbound(self) -> None:
        """Lift the budget: the caller decides when the search ends."""
        if self.budget is not None:
            self._ready.extend(range(self.budget, self._sampled))
            heapq.heapify(self._ready)
        self.budget = None

    @property
    def finished(self) -> bool:
        """Whether the whole budget has an outcome."""
        return self.budget is not None and len(self._outcomes) >= self.budget

    def generation_of(self, evaluation: int) -> int | None:
        """The generation of an evaluation, or None if the optimiser has no generations."""
        return None if self._population is None else evaluation // self._population

    def first_dependent(self, evaluation: int) -> int | None:
        """The first evaluation that cannot be proposed before this one has an outcome."""
        if self._population is None:
            return None
        generation = evaluation // self._population
        ahead = 0 if self._opens and generation == 0 else self._lookahead
        return (generation + 1) * self._population + ahead

    @property
    def _opens(self) -> bool:
        return isinstance(self.optimiser, Opening)

    def ask(self) -> Proposal | None:
        """The next evaluation to run; None at the generation's barrier and at the budget's end.

        Samples that an earlier evaluation answers come out of `take_answered` instead.
        """
        while True:
            if not self._ready and self._population is None and self._within_budget():
                self._sample(1)
            if not self._ready:
                return None
            evaluation = heapq.heappop(self._ready)
            if evaluation not in self._outcomes and self._must_run(evaluation):
                return self._proposal(evaluation)

    def requeue(self, evaluation: int) -> None:
        """Propose an evaluation again because its trial was lost; it may have an outcome."""
        if evaluation not in self._outcomes and evaluation not in self._ready:
            heapq.heappush(self._ready, evaluation)

    def take_answered(self) -> list[Proposal]:
        """Proposals that their `source` answers; each wants one `tell`, like any other."""
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
        if not 0 <= evaluation < self._sampled:
            raise ValueError(f"evaluation {evaluation} was never proposed")
        if evaluation in self._outcomes:
            return False
        self._record(evaluation, outcome)
        if self._population is not None:
            self._close_generations(self._population)
        else:
            self._one_by_one.tell(self._candidates[evaluation], outcome)
        return True

    def replay(self, rows: Mapping[int, tuple[Sample, Outcome]]) -> None:
        """Bring a fresh instance to the state that recorded evaluations left.

        Evaluations without a row are proposed again. Rows behind them are taken as soon as their
        generation is sampled.

        Raises:
            ReplayError: a row's sample is not the one proposed here, or there are rows beyond the
                budget. `tell` raises it too, if it samples a generation that is recorded.
        """
        beyond = len(rows) * 2 + 1000 if self.budget is None else self.budget
        if rows and max(rows) >= beyond:
            raise ReplayError(f"evaluation {max(rows)} is recorded, which is beyond the budget")
        if self._population is None and isinstance(self.optimiser, Adopting):
            self._adopt(rows, self.optimiser)
            return
        self._recorded = dict(rows)
        if self._population is None:
            self._sample(max(0, max(rows, default=-1) + 1 - self._sampled))
            for evaluation in sorted(rows):
                self._recall(evaluation)
                self._one_by_one.tell(self._candidates[evaluation], rows[evaluation][1])
            return
        for evaluation in range(self._sampled):
            self._recall(evaluation)
        self._close_generations(self._population)

    def expect(self, evaluation: int, sample: Sample, outcome: Outcome) -> None:
        """Take the outcome of an evaluation that is not sampled yet; it counts once it is."""
        assert evaluation >= self._sampled
        self._recorded[evaluation] = sample, outcome

    def check(self, evaluation: int, recorded: Sample) -> None:
        """Compare a recorded sample with the one that is proposed here, maybe on another CPU.

        Real numbers may differ by `ROUNDING`, and by a thousandth of the step size of the
        distribution that they were drawn from; all other values must be equal.

        Raises:
            ReplayError: a value differs by more than that.
        """
        proposed = self._candidates[evaluation].sample
        name = self._space.differing(recorded, proposed, self._tolerances.get(evaluation, ROUNDING))
        if name is not None:
            raise ReplayError(
                f"evaluation {evaluation} is recorded with {name}={shown(recorded.get(name))}, but "
                f"this search proposes {name}={shown(proposed.get(name))}"
            )

    def _recall(self, evaluation: int) -> None:
        """Take the recorded outcome of a candidate, if there is one.

        The recorded sample stands for the evaluation; the optimiser will be told its own candidate.

        Raises:
            ReplayError: it is recorded with another sample.
        """
        if evaluation not in self._recorded:
            return
        sample, outcome = self._recorded[evaluation]
        self.check(evaluation, sample)
        if self._reuse and outcome.reusable:
            self._duplicates.note(evaluation, self._space.key(sample))
        self._record(evaluation, outcome)

    def _adopt(self, rows: Mapping[int, tuple[Sample, Outcome]], optimiser: Adopting) -> None:
        """Take recorded samples as they are: they depend on an order that is not recorded."""
        adopted: dict[int, C] = {}
        for evaluation in sorted(rows):
            sample, outcome = rows[evaluation]
            adopted[evaluation] = optimiser.adopt(sample)
            self._outcomes[evaluation] = outcome
            self._one_by_one.tell(adopted[evaluation], outcome)
            if self._reuse and outcome.reusable:
                self._duplicates.note(evaluation, self._space.key(sample))
        for evaluation in range(max(rows, default=-1) + 1):
            if evaluation in adopted:
                self._candidates[evaluation] = adopted[evaluation]
                self._sampled += 1
            else:  # it was in flight
                self._sample(1)

    def _within_budget(self) -> bool:
        return self.budget is None or self._sampled < self.budget

    def _sample(self, count: int) -> None:
        for _ in range(count):
            evaluation, self._sampled = self._sampled, self._sampled + 1
            self._candidates[evaluation] = self.optimiser.ask()
            self._tolerances[evaluation] = self._tolerance
            if self.budget is None or evaluation < self.budget:
                heapq.heappush(self._ready, evaluation)

    def _proposal(self, evaluation: int, source: int | None = None) -> Proposal:
        sample = self._candidates[evaluation].sample
        return Proposal(evaluation, self.generation_of(evaluation), dict(sample), source)

    def _must_run(self, evaluation: int) -> bool:
        """Whether an evaluation must be run; if not, it waits for another, or that answers it."""
        if not self._reuse:
            return True
        key = self._space.key(self._candidates[evaluation].sample)
        owner = self._duplicates.owner(evaluation, key, self._outcomes)
        if owner in self._outcomes:
            self._answered.append(self._proposal(evaluation, source=owner))
        elif owner != evaluation:
            self._duplicates.wait(evaluation, owner)
        return owner == evaluation

    def _record(self, evaluation: int, outcome: Outcome) -> None:
        self._outcomes[evaluation] = outcome
        for waiter in self._duplicates.released(evaluation):
            heapq.heappush(self._ready, waiter)

    def _close_generations(self, population: int) -> None:
        """Tell the optimiser each generation that is whole, and sample as many candidates again."""
        while True:
            first = self._generations_told * population
            members = range(first, first + population)
            if not all(member in self._outcomes for member in members):
                return
            outcomes = [self._outcomes[member] for member in members]
            candidates = [self._candidates.pop(member) for member in members]
            opening = first == 0 and self._opens
            if opening:
                assert isinstance(self.optimiser, Opening)
                self.optimiser.begin(_best(candidates, outcomes))
            elif (values := generation_values(outcomes)) is not None:
                self.optimiser.tell(list(zip(candidates, values, strict=True)))
            self._generations_told += 1
            self._note_distribution()
            sampled = self._sampled
            self._sample(population + self._lookahead if opening else population)
            for evaluation in range(sampled, self._sampled):
                self._recall(evaluation)

    @property
    def _tolerance(self) -> float:
        """Largest distance of a real number from a recorded one, if it is drawn now."""
        sigma = self.distributions[-1].get("sigma", math.inf) if self.distributions else math.inf
        return min(ROUNDING, float(sigma) / 1000)

    def _note_distribution(self) -> None:
        if isinstance(self.optimiser, Distributed):
            self.distributions.append(self.optimiser.distribution())


def _best(candidates: list[C], outcomes: list[Outcome]) -> Sample | None:
    """The sample of the lowest value, the first of equal ones; None if all failed."""
    found = [
        (outcome.finite, number)
        for number, outcome in enumerate(outcomes)
        if outcome.finite is not None
    ]
    return candidates[min(found)[1]].sample if found else None
