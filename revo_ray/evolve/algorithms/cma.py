"""CMA-ES (arXiv 1604.00772) over real variables, each on its own scale."""

from __future__ import annotations

import numpy as np

from revo_ray.evolve.algorithms.base import CovarianceName
from revo_ray.evolve.algorithms.gaussian import GaussianAlgorithm, Scale
from revo_ray.evolve.algorithms.symmetric import SymmetricCMA
from revo_ray.evolve.space import Real, Variable


class CMAAlgorithm(GaussianAlgorithm):
    """CMA-ES. It takes reals only."""

    def __init__(
        self,
        variables: dict[str, Variable],
        population_size: int,
        sigma: float,
        covariance: CovarianceName,
        seed: int,
    ) -> None:
        codes: list[tuple[str, Scale]] = []
        for name, variable in variables.items():
            if not isinstance(variable, Real):
                raise ValueError(
                    f"algorithm='cma' searches real variables only, and {name} is {variable};"
                    " use catcmawm"
                )
            codes.append((name, Scale(variable)))
        mean, cov = self._lay_out(codes, sigma, covariance)
        bounds = np.tile([0.0, 1.0], (len(mean), 1))
        self._optimizer = SymmetricCMA(
            mean, sigma, bounds, seed=seed, population_size=population_size, cov=cov
        )

    def _ask(self) -> tuple[np.ndarray, np.ndarray]:
        x = self._optimizer.ask()
        return x, x
