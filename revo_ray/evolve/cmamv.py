"""CMAMV: mixed-variable CMA-ES over a `Space`, by ask and tell, with a choice of algorithms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

from revo_ray.evolve.algorithms import CovarianceName, make_algorithm
from revo_ray.evolve.space import Categorical, Sample, Space, Variable

# Within noise the best of 0.05 … 0.3 for every algorithm, after 100 evaluations of rotated
# ellipsoids in 8 to 50 dimensions, of weighted bit-matching and of a mixed space.
DEFAULT_SIGMA = 0.125
# With 2 or 3 the library divides by a learning rate of zero, with 1 by an empty selection.
MINIMUM_POPULATION = 4


@dataclass(frozen=True, eq=False)
class Candidate:
    """A proposed sample, with the token that `tell` expects.

    Args:
        sample: Plain values of every variable of the space, constants included.
        raw: The library's own record of the sample.
    """

    sample: Sample
    raw: Any


class CMAMV:
    """Propose samples of a space and learn from their values, which are minimised.

    The candidates are a function of the space, the settings and the told values. A candidate may
    be told later than others that were asked after it. A generation of equal values leaves the
    distribution as it is.

    Example::

        optimizer = CMAMV(Space({"lr": Real(1e-4, 1.0, log=True), "frozen": Integer(0, 1)}))
        for _ in range(10):
            candidates = [optimizer.ask() for _ in range(optimizer.population_size)]
            optimizer.tell([(each, loss(each.sample)) for each in candidates])

    Args:
        space: The search space; at least one variable has more than one value.
        algorithm: `catcmawm` (CatCMA with Margin, arXiv 2504.07884), `cmawm` (CMA-ES with Margin,
            arXiv 2205.13482), `sop` (CMA-ES on sets of points, arXiv 2408.13046) or `cma`
            (CMA-ES, arXiv 1604.00772, real variables only).
        population_size: Number of values in each `tell`, at least 4.
        sigma: Initial standard deviation of a variable, as a fraction of its scale's width, 0.125
            by default. For an Integer of few values it is at least half the distance between two.
        covariance: `independent`, or `depth`: reals with a depth begin with a covariance that falls
            with the distance of their depths.
        seed: Seed of the random numbers, 0 … 2**32 - 1.

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
        covariance: CovarianceName = "independent",
        seed: int = 0,
    ) -> None:
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
        self._algorithm = make_algorithm(
            algorithm, space.searched, population_size, float(sigma), covariance, seed
        )

    def ask(self) -> Candidate:
        """Draw a candidate from the current distribution."""
        with _blas().limit(limits=1):
            searched, raw = self._algorithm.ask()
        values = {**self.space.constants, **searched}
        return Candidate({name: values[name] for name in self.space}, raw)

    def candidate(self, sample: Sample) -> Candidate:
        """Return the candidate of a given sample, to be told among a generation like a drawn one.

        Raises:
            ValueError: The sample has missing or unknown names, or a value outside its variable.
        """
        self.space.validate(sample)
        return Candidate(dict(sample), self._algorithm.solution(sample))

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
            with _blas().limit(limits=1):
                self._algorithm.tell(told)

    def distribution(self) -> dict[str, Any]:
        """Return the distribution of the next candidates, for plots.

        Returns:
            `sigma`: the step size in units of a scale's width. `variables`: the mean of a Real or
            an Integer in its own units, the probabilities of a Categorical's choices (estimated
            from the marginal distribution if they have no closed form). `positions`: the mean's
            position on the scale, from 0 to 1; for a Categorical of two choices the probability
            of the second; a Categorical of more choices has none.
        """
        found = self._algorithm.variables()
        searched = self.space.searched
        positions = {name: _position(each, found[name]) for name, each in searched.items()}
        return {
            "sigma": self._algorithm.sigma,
            "variables": {name: found[name] for name in searched},
            "positions": {name: place for name, place in positions.items() if place is not None},
        }


@cache
def _blas() -> ThreadpoolController:
    """The BLAS libraries that are loaded once an algorithm is.

    On one thread, for the last digits of an eigendecomposition may depend on the number of threads,
    and that on the machine; and on matrices so small, threads only wait for each other.
    """
    return ThreadpoolController().select(user_api="blas")


def _position(variable: Variable, mean: float | list[float]) -> float | None:
    if isinstance(mean, list):
        return mean[1] if len(mean) == 2 else None
    assert not isinstance(variable, Categorical)
    return variable.to_unit(mean)
