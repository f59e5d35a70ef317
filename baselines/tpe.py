"""TPE, the tree-structured Parzen estimator: Ray's `HyperOptSearch`, by ask and tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hyperopt.base import miscs_update_idxs_vals
from ray import tune
from ray.tune.search.hyperopt import HyperOptSearch

from revo_ray.methods import Real, ReplayError, Sample, Space, Variable

METRIC = "value"
"""Name of the told values in `HyperOptSearch`."""


@dataclass(frozen=True)
class Suggestion:
    """A proposed sample, with its trial id in `HyperOptSearch`."""

    sample: Sample
    trial: str


class TPE:
    """Ray's `HyperOptSearch` without Tune: one sample at a time; values are minimised.

    It has no generations: a proposal depends on all values told before it. Asked and told
    serially, it proposes the samples of `hyperopt.tpe.suggest` (Bergstra et al. 2011, Algorithms
    for hyper-parameter optimization) with a seed from `numpy.random.RandomState(seed)` for each
    proposal, by `randint(2**31 - 1)`.

    Args:
        space: real variables, linear or on a log scale, without steps.
        seed: seed of the proposals.
        startup: random proposals before the first that learns.
        gamma: fraction of the told samples that count as good.

    Raises:
        ValueError: a variable of another kind.
    """

    population_size = None

    def __init__(self, space: Space, *, seed: int, startup: int = 20, gamma: float = 0.25) -> None:
        domains = {name: _domain(name, variable) for name, variable in space.items()}
        self._space = space
        self._count = 0
        self._searcher: Any = HyperOptSearch(
            HyperOptSearch.convert_search_space(domains),
            metric=METRIC,
            mode="min",
            n_initial_points=startup,
            random_state_seed=seed,
            gamma=gamma,
        )

    def ask(self) -> Suggestion:
        """The next sample."""
        trial = str(self._count)
        self._count += 1
        suggested = self._searcher.suggest(trial)
        assert suggested is not None
        return Suggestion({name: float(suggested[name]) for name in self._space}, trial)

    def tell(self, solutions: list[tuple[Suggestion, float]]) -> None:
        """Learn from finite values, in any order."""
        for suggestion, value in solutions:
            self._searcher.on_trial_complete(suggestion.trial, {METRIC: value})

    def adopt(self, sample: Sample) -> Suggestion:
        """Take a recorded sample for the next one, with the state that `ask` would have left.

        Raises:
            ReplayError: it has other variables than the space, or values beyond their bounds.
        """
        if set(sample) != set(self._space):
            raise ReplayError(
                f"a sample of {', '.join(sorted(sample))} is recorded, but this search proposes "
                f"{', '.join(sorted(self._space))}"
            )
        try:
            self._space.validate(sample)
        except ValueError as error:
            raise ReplayError(f"the recorded sample is none of this search's: {error}") from None
        # The recorded sample is suggested in place of the algorithm's, so that the draw of a seed
        # and the bookkeeping are those of any other suggestion.
        algorithm = self._searcher.algo
        self._searcher.algo = _recorded(sample)
        try:
            return self.ask()
        finally:
            self._searcher.algo = algorithm


def _recorded(sample: Mapping[str, Any]) -> Any:
    """An algorithm, in hyperopt's sense, that suggests the sample."""

    def suggest(new_ids: list[int], domain: Any, trials: Any, seed: int) -> Any:
        (number,) = new_ids
        misc = {"tid": number, "cmd": domain.cmd, "workdir": domain.workdir}
        miscs_update_idxs_vals(
            [misc],
            {name: [number] for name in sample},
            {name: [value] for name, value in sample.items()},
        )
        return trials.new_trial_docs([number], [None], [domain.new_result()], [misc])

    return suggest


def _domain(name: str, variable: Variable) -> Any:
    if not isinstance(variable, Real) or variable.step is not None:
        raise ValueError(f"{name!r}: {variable} is not a real variable without steps")
    kind = tune.loguniform if variable.log else tune.uniform
    return kind(variable.low, variable.high)
