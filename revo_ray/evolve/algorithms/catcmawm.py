"""CatCMA with Margin (arXiv 2504.07884): a Gaussian, and a distribution for each choice."""

from __future__ import annotations

from typing import Any

import numpy as np
from cmaes import CatCMAwM

from revo_ray.evolve.algorithms.base import (
    Algorithm,
    CovarianceName,
    index_of,
    initial_cov,
    initial_probabilities,
    levels,
    summary_of,
)
from revo_ray.evolve.algorithms.symmetric import SymmetricCatCMAwM
from revo_ray.evolve.space import Categorical, Integer, Real, Sample, Variable

# The library keeps a table of every level, as wide as the widest variable.
_MOST_LEVELS = 1024
# Without a margin, a Gaussian that has narrowed between two of so few values never reaches others.
_FEW_LEVELS = 5


class CatCMAwMAlgorithm(Algorithm):
    """Reals become x, integers and reals of few values z, and pairs or unordered values c."""

    def __init__(
        self,
        variables: dict[str, Variable],
        population_size: int,
        sigma: float,
        covariance: CovarianceName,
        seed: int,
    ) -> None:
        self._x: dict[str, Real | Integer] = {}
        self._z: dict[str, Real | Integer] = {}
        self._c: dict[str, Integer | Categorical] = {}
        for name, variable in variables.items():
            if isinstance(variable, Real):
                few = variable.size is not None and 2 <= variable.size <= _FEW_LEVELS
                (self._z if few else self._x)[name] = variable
            elif isinstance(variable, Categorical) or variable.size == 2:
                self._c[name] = variable
            elif variable.size > _MOST_LEVELS:
                self._x[name] = variable
            else:
                self._z[name] = variable
        scaled = [*self._x.values(), *self._z.values()]
        sizes = [variable.size for variable in self._c.values()]
        probabilities = np.zeros((len(sizes), max(sizes, default=0)))
        for i, variable in enumerate(self._c.values()):
            probabilities[i, : variable.size] = initial_probabilities(variable)
        self._optimizer = _LastingCatCMAwM(
            x_space=[[0.0, 1.0]] * len(self._x) or None,
            z_space=[levels(variable) for variable in self._z.values()] or None,
            c_space=sizes or None,
            population_size=population_size,
            # The library writes into these.
            mean=np.array([variable.start_unit for variable in scaled]) if scaled else None,
            sigma=sigma,
            cov=initial_cov(scaled, sigma, covariance) if scaled else None,
            cat_param=probabilities if sizes else None,
            seed=seed,
        )
        if not scaled:
            self._optimizer._sigma = sigma

    def ask(self) -> tuple[Sample, Any]:
        """Draw the variables' values and the library's own solution."""
        solution = self._optimizer.ask()
        sample: Sample = {}
        for i, (name, scale) in enumerate(self._x.items()):
            sample[name] = scale.from_unit(solution.x[i])
        for i, (name, scale) in enumerate(self._z.items()):
            sample[name] = scale.from_unit(solution.z[i])
        for i, (name, choice) in enumerate(self._c.items()):
            sample[name] = choice.at(int(np.argmax(solution.c[i])))
        return sample, solution

    def solution(self, sample: Sample) -> Any:
        """Return the library's solution at the places of a sample's values."""
        scaled = [*self._x.items(), *self._z.items()]
        places = np.array([scale.to_unit(sample[name]) for name, scale in scaled])
        numbers = [index_of(choice, sample[name]) for name, choice in self._c.items()]
        return CatCMAwM.Solution(
            x=places[: len(self._x)] if self._x else None,
            z=places[len(self._x) :] if self._z else None,
            c=np.arange(self._optimizer._Kmax) == np.array(numbers)[:, np.newaxis]
            if numbers
            else None,
            _v_raw=places if scaled else None,
        )

    def variables(self) -> dict[str, float | list[float]]:
        """Return the Gaussian's means and the probabilities of the choices."""
        found: dict[str, float | list[float]] = {}
        for i, (name, scale) in enumerate([*self._x.items(), *self._z.items()]):
            found[name] = scale.interpolate(self._optimizer._mean[i])
        for i, (name, choice) in enumerate(self._c.items()):
            found[name] = summary_of(choice, self._optimizer._q[i, : choice.size])
        return found


class _LastingCatCMAwM(SymmetricCatCMAwM):
    """CatCMAwM whose updates stay finite: with ties, huge values, and choices of no effect."""

    _Delta: float

    def _calc_continuous_penalty(self, v_raw: np.ndarray, sorted_fvals: np.ndarray) -> np.ndarray:
        fvals = _without_tail(sorted_fvals)
        quartiles = fvals[self._popsize // 4], fvals[3 * self._popsize // 4]
        if not self._iqhist_values and quartiles[0] == quartiles[1]:
            # The library would take the median of no interquartile ranges.
            self._iqhist_values.append(float(fvals[-1] - fvals[0]) or 1.0)
        return super()._calc_continuous_penalty(v_raw, fvals)

    def _update_categorical(self, sc: np.ndarray) -> None:
        # The rate of the update's averages is 1/(_Delta·√n). Where few choices matter little, the
        # library lets it grow beyond 1, and from 2 on takes the root of a negative number.
        self._Delta = max(self._Delta, 1 / np.sqrt(self._param_sum))
        super()._update_categorical(sc)


def _without_tail(sorted_fvals: np.ndarray) -> np.ndarray:
    """Cap values at ten times the median distance from the best, if the upper quartile is far off.

    The library's penalties grow with the interquartile range of the values, so three diverged
    losses of ten would outweigh all others. Ties count once. Values with an upper quartile within
    a hundred median distances come back as they are.
    """
    fvals = np.clip(sorted_fvals, -1e100, 1e100)
    excess = np.unique(fvals - fvals[0])[1:]
    if not excess.size:
        return fvals
    median = excess[(excess.size - 1) // 2]
    if fvals[3 * fvals.size // 4] - fvals[0] <= 100 * median:
        return fvals
    return np.minimum(fvals, fvals[0] + 10 * median)
