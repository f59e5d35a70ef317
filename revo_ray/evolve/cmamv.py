"""CMAMV: mixed-variable CMA-ES by ask and tell over a `Space`, with a choice of algorithms."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from threadpoolctl import ThreadpoolController

from revo_ray.evolve.algorithms.base import Adaptor
from revo_ray.evolve.algorithms.catcmawm import CatCMAwMAdaptor
from revo_ray.evolve.algorithms.cma import CMAAdaptor
from revo_ray.evolve.algorithms.cmawm import CMAwMAdaptor
from revo_ray.evolve.algorithms.sop import SoPAdaptor
from revo_ray.evolve.space import Categorical, Sample, Space, Variable

# Each takes the searched variables, the population size, sigma and the seed.
_ADAPTORS: dict[str, Callable[[dict[str, Variable], int, float, int], Adaptor]] = {
    "catcmawm": CatCMAwMAdaptor,
    "cmawm": CMAwMAdaptor,
    "sop": SoPAdaptor,
    "cma": CMAAdaptor,
}
ALGORITHMS = tuple(_ADAPTORS)

# The last digits of an eigendecomposition may depend on the number of threads, and that on the
# machine; and on matrices so small, threads only wait for each other.
_LIBRARIES = ThreadpoolController()

# Within noise the best of 0.05 … 0.3 for every algorithm, after 100 evaluations of rotated
# ellipsoids in 8 to 50 dimensions, of weighted bit-matching and of a mixed space.
DEFAULT_SIGMA = 0.125
# With 2 or 3 the library divides by a learning rate of zero, with 1 by an empty selection.
MINIMUM_POPULATION = 4


@dataclass(frozen=True, eq=False)
class Candidate:
    """A proposed sample, with what the optimiser has to be told about it.

    Args:
        sample: Plain values of every variable of the space, constants included.
        raw: The library's own record of the sample; pass it back untouched.
    """

    sample: Sample
    raw: Any


class CMAMV:
    """Propose samples of a space and learn from their values, which are minimised.

    A search is a function of the space, the settings and the told values. Candidates may be told
    later than others that were asked after them. Told values that are all equal say nothing, and
    leave the distribution as it is.

    Example:

        optimizer = CMAMV(Space({"lr": Real(1e-4, 1.0, log=True), "frozen": Integer(0, 1)}))
        for _ in range(10):
            candidates = [optimizer.ask() for _ in range(optimizer.population_size)]
            optimizer.tell([(each, loss(each.sample)) for each in candidates])

    Args:
        space: What to search; at least one variable with more than one value.
        algorithm: `catcmawm` (CatCMA with Margin, arXiv 2504.07884), `cmawm` (CMA-ES with Margin,
            arXiv 2205.13482), `sop` (CMA-ES on sets of points, arXiv 2408.13046) or `cma`
            (CMA-ES, arXiv 1604.00772, real variables only).
        population_size: How many values are told at once, at least 4.
        sigma: Initial standard deviation of a variable, as a part of its scale's width, 0.125 by
            default. An Integer of few values has at least half the distance between two of them.
        seed: Of the random numbers, 0 … 2**32 - 1.

    Raises:
        ValueError: A space, algorithm or setting that cannot be searched with.
    """

    def __init__(
        self,
        space: Space,
        *,
        algorithm: str = "catcmawm",
        population_size: int = 10,
        sigma: float | None = None,
        seed: int = 0,
    ) -> None:
        if algorithm not in _ADAPTORS:
            raise ValueError(f"algorithm={algorithm!r} is not one of {', '.join(ALGORITHMS)}")
        if population_size < MINIMUM_POPULATION:
            raise ValueError(
                f"population_size={population_size} is too small; use {MINIMUM_POPULATION} or more"
            )
        sigma = DEFAULT_SIGMA if sigma is None else sigma
        if not (math.isfinite(sigma) and sigma > 0):
            raise ValueError(f"sigma={sigma} must be positive and finite, such as {DEFAULT_SIGMA}")
        if not 0 <= seed < 2**32:
            raise ValueError(f"seed={seed} must be in 0 … 2**32 - 1")
        if not space.searched:
            raise ValueError(
                f"space: none of its variables {list(space)} has more than one value;"
                " add one that may vary"
            )
        self.space = space
        self.algorithm = algorithm
        self.population_size = population_size
        self.generation = 0
        self._adaptor = _ADAPTORS[algorithm](space.searched, population_size, float(sigma), seed)

    def ask(self) -> Candidate:
        """Draw a candidate from the current distribution."""
        with _LIBRARIES.limit(limits=1, user_api="blas"):
            searched, raw = self._adaptor.ask()
        values = {**self.space.constants, **searched}
        return Candidate({name: values[name] for name in self.space}, raw)

    def tell(self, solutions: Sequence[tuple[Candidate, float]]) -> None:
        """Update the distribution with the values (lower is better) of one generation.

        Equal values rank in the order of the list, which is left as it is.

        Raises:
            ValueError: Not exactly `population_size` solutions, or a value that is not finite.
        """
        if len(solutions) != self.population_size:
            raise ValueError(
                f"tell: {len(solutions)} solutions; tell exactly population_size ="
                f" {self.population_size} of them"
            )
        told = [(candidate.raw, float(value)) for candidate, value in solutions]
        for i, (_, value) in enumerate(told):
            if not math.isfinite(value):
                raise ValueError(
                    f"tell: value {value} of solution {i} is not finite;"
                    " tell the worst finite value of the generation instead"
                )
        self.generation += 1
        if len({value for _, value in told}) > 1:
            with _LIBRARIES.limit(limits=1, user_api="blas"):
                self._adaptor.tell(told)

    def distribution(self) -> dict[str, Any]:
        """Return what the next candidates are drawn from, for plots.

        Returns:
            `sigma`, the step size in units of a scale's width, and `variables`: for a Real or an
            Integer its mean in its own units, for a Categorical the probabilities of its choices
            (estimated from the variable's marginal distribution where they have no closed form).
            `positions`: where that is on the variable's scale, from 0 to 1; of a Categorical of
            two choices the probability of the second, of one of more nothing.
        """
        found = self._adaptor.variables()
        searched = self.space.searched
        positions = {name: _position(each, found[name]) for name, each in searched.items()}
        return {
            "sigma": self._adaptor.sigma,
            "variables": {name: found[name] for name in searched},
            "positions": {name: place for name, place in positions.items() if place is not None},
        }


def _position(variable: Variable, mean: float | list[float]) -> float | None:
    if isinstance(mean, list):
        return mean[1] if len(mean) == 2 else None
    assert not isinstance(variable, Categorical)
    return variable.to_unit(mean)
