"""Codes of variables as coordinates, for algorithms that sample one Gaussian vector."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy.stats import norm

from revo_ray.evolve.algorithms.base import (
    Algorithm,
    CovarianceName,
    index_of,
    initial_cov,
    initial_probabilities,
    summary_of,
)
from revo_ray.evolve.space import Categorical, Integer, Real, Sample, Variable


class Code(Protocol):
    """Coordinates of one variable in the sampled Gaussian vector."""

    @property
    def variable(self) -> Variable:
        """The variable that has these coordinates."""

    @property
    def width(self) -> int:
        """How many coordinates there are."""

    def mean(self, sigma: float) -> np.ndarray:
        """Return the initial mean of the Gaussian, shape (width,)."""

    def decode(self, x: np.ndarray) -> Any:
        """Return the value at coordinates x, shape (width,)."""

    def encode(self, value: Any) -> np.ndarray:
        """Return coordinates amid those that decode to a value, shape (width,)."""

    def summary(self, mean: np.ndarray, cov: np.ndarray) -> float | list[float]:
        """Return the variable's mean or the probabilities of its choices under a Gaussian.

        Shapes: mean (width,), cov (width, width).
        """


@dataclass(frozen=True)
class Scale:
    """One coordinate: the position on the variable's scale."""

    variable: Real | Integer
    width: int = 1

    def mean(self, sigma: float) -> np.ndarray:
        """Return the variable's start, shape (1,)."""
        return np.array([self.variable.start_unit])

    def decode(self, x: np.ndarray) -> float | int:
        """Return the value at the position."""
        return self.variable.from_unit(x[0])

    def encode(self, value: Any) -> np.ndarray:
        """Return the value's position, shape (1,)."""
        return np.array([self.variable.to_unit(value)])

    def summary(self, mean: np.ndarray, cov: np.ndarray) -> float | list[float]:
        """Return the mean in the variable's own units."""
        return self.variable.interpolate(mean[0])


@dataclass(frozen=True)
class Switch:
    """One coordinate, for two values: below one half the first, above it the second."""

    variable: Integer | Categorical
    width: int = 1

    def mean(self, sigma: float) -> np.ndarray:
        """Return a mean that gives the second value its initial probability, shape (1,)."""
        second = initial_probabilities(self.variable)[1]
        return np.clip([0.5 + sigma * norm.ppf(second)], 0.0, 1.0)

    def decode(self, x: np.ndarray) -> Any:
        """Return the value on this side of one half."""
        return self.variable.at(int(x[0] > 0.5))

    def encode(self, value: Any) -> np.ndarray:
        """Return the middle of the value's half, shape (1,)."""
        return np.array([0.25 + 0.5 * index_of(self.variable, value)])

    def summary(self, mean: np.ndarray, cov: np.ndarray) -> float | list[float]:
        """Return the mean or the probabilities, from the Gaussian's mass above one half."""
        second = norm.cdf((mean[0] - 0.5) / math.sqrt(cov[0, 0]))
        return summary_of(self.variable, np.array([1 - second, second]))


class GaussianAlgorithm(Algorithm):
    """Base class of the algorithms that sample one Gaussian vector (CMA-ES, arXiv 1604.00772)."""

    _places: dict[str, tuple[Code, slice]]

    @abstractmethod
    def _ask(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the vector to decode and the vector to tell, shapes (dimensions,)."""

    def _lay_out(
        self, codes: Iterable[tuple[str | None, Code]], sigma: float, covariance: CovarianceName
    ) -> tuple[np.ndarray, np.ndarray]:
        """Give each code its coordinates, in order, and return the initial mean and covariance.

        A code without a name takes coordinates and is never decoded.
        """
        self._places = {}
        variables: list[Variable] = []
        means: list[np.ndarray] = []
        for name, code in codes:
            if name is not None:
                self._places[name] = code, slice(len(variables), len(variables) + code.width)
            variables += [code.variable] * code.width
            means.append(code.mean(sigma))
        return np.concatenate(means), initial_cov(variables, sigma, covariance)

    @property
    def _deviations(self) -> np.ndarray:
        """Factors from the covariance matrix to the coordinates' units, shape (dimensions,)."""
        gaussian = self._parts[-1]
        return np.full(len(gaussian._mean), gaussian._sigma)

    def ask(self) -> tuple[Sample, Any]:
        """Draw the variables' values and the vector that the library must be told."""
        x, raw = self._ask()
        return {name: code.decode(x[place]) for name, (code, place) in self._places.items()}, raw

    def solution(self, sample: Sample) -> Any:
        """Return the vector to tell of a sample's values, shape (dimensions,)."""
        x = np.array(self._parts[-1]._mean)
        for name, (code, place) in self._places.items():
            x[place] = code.encode(sample[name])
        return x

    def variables(self) -> dict[str, float | list[float]]:
        """Return the summary of each code, from its part of the Gaussian."""
        gaussian = self._parts[-1]
        deviations = self._deviations
        cov = deviations[:, np.newaxis] * gaussian._C * deviations
        return {
            name: code.summary(gaussian._mean[place], cov[place, place])
            for name, (code, place) in self._places.items()
        }


def frequencies(
    mean: np.ndarray, cov: np.ndarray, index: Callable[[np.ndarray], np.ndarray], size: int
) -> list[float]:
    """Return the frequencies of choices 0 … size - 1 among 2048 draws from a Gaussian.

    Args:
        mean, cov: Parameters of the Gaussian, shapes (width,) and (width, width).
        index: Gives the choices (draws,) of draws (draws, width).
        size: Number of choices.
    """
    rng = np.random.default_rng(0)
    draws = rng.multivariate_normal(mean, cov, size=2048, method="eigh", check_valid="ignore")
    return (np.bincount(index(draws), minlength=size) / len(draws)).tolist()
