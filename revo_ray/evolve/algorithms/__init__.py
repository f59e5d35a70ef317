"""Evolution algorithms, one file each: the optimisers of `cmaes` over the variables of a space."""

from __future__ import annotations

from importlib import import_module
from typing import Literal, get_args

from revo_ray.evolve.algorithms.base import Algorithm
from revo_ray.evolve.algorithms.base import CovarianceName as CovarianceName
from revo_ray.evolve.variables import Variable

AlgorithmName = Literal["catcmawm", "cmawm", "sop", "cma"]
"""Names of the algorithms. Each has a module of that name in this folder."""

ALGORITHMS: tuple[str, ...] = get_args(AlgorithmName)

_CLASSES = {
    "catcmawm": "CatCMAwMAlgorithm",
    "cmawm": "CMAwMAlgorithm",
    "sop": "SoPAlgorithm",
    "cma": "CMAAlgorithm",
}


def make_algorithm(
    name: str,
    variables: dict[str, Variable],
    population_size: int,
    sigma: float,
    covariance: CovarianceName,
    seed: int,
) -> Algorithm:
    """Return a new algorithm over variables with more than one value each.

    Its module is imported here, since SciPy takes a second that most processes need not spend.

    Raises:
        ValueError: An unknown name, or variables that the algorithm cannot search.
    """
    if name not in ALGORITHMS:
        raise ValueError(f"algorithm={name!r} is not one of {', '.join(ALGORITHMS)}")
    module = import_module(f"{__name__}.{name}")
    make = getattr(module, _CLASSES[name])
    algorithm: Algorithm = make(variables, population_size, sigma, covariance, seed)
    return algorithm
