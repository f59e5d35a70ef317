"""CMA-ES with Margin (arXiv 2205.13482): a Gaussian with steps, which never loses a value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from revo_ray.evolve.algorithms.base import CovarianceName
from revo_ray.evolve.algorithms.gaussian import Code, GaussianAlgorithm, Scale, Switch, frequencies
from revo_ray.evolve.algorithms.symmetric import SymmetricCMAwM
from revo_ray.evolve.space import Categorical, Real, Sample, Variable


class CMAwMAlgorithm(GaussianAlgorithm):
    """Variables of equidistant values get stepped coordinates, all others continuous ones."""

    def __init__(
        self,
        variables: dict[str, Variable],
        population_size: int,
        sigma: float,
        covariance: CovarianceName,
        seed: int,
    ) -> None:
        codes: list[tuple[str, Code]] = []
        steps: list[float] = []
        for name, variable in variables.items():
            code: Code
            if isinstance(variable, Real):
                code, step = Scale(variable), 0.0
            elif variable.size == 2:
                code, step = Switch(variable), 1.0
            elif isinstance(variable, Categorical):
                code, step = Argmax(variable), 0.0
            else:
                # Values on a log scale are not equidistant: they are rounded when decoded.
                code, step = Scale(variable), 0.0 if variable.log else 1 / (variable.size - 1)
            codes.append((name, code))
            steps += [step] * code.width
        mean, cov = self._lay_out(codes, sigma, covariance)
        self._optimizer = SymmetricCMAwM(
            mean,
            sigma,
            np.tile([0.0, 1.0], (len(mean), 1)),
            np.array(steps),
            seed=seed,
            population_size=population_size,
            cov=cov,
        )

    @property
    def _parts(self) -> list[Any]:
        return [self._optimizer, self._optimizer._cma]

    @property
    def _deviations(self) -> np.ndarray:
        # The margin widens a coordinate by its entry of A. Without steps there is no A.
        return np.asarray(super()._deviations * getattr(self._optimizer, "_A", 1.0))

    def solution(self, sample: Sample) -> Any:
        """Return the vector that the library decodes to a sample's values, shape (dimensions,)."""
        x = super().solution(sample)
        mean, rows = self._optimizer._cma._mean, self._optimizer._discrete_idx
        widened = getattr(self._optimizer, "_A", np.ones(len(x)))
        x[rows] = mean[rows] + (x[rows] - mean[rows]) / widened[rows]
        return x

    def _ask(self) -> tuple[np.ndarray, np.ndarray]:
        encoded, raw = self._optimizer.ask()
        return encoded, raw


@dataclass(frozen=True)
class Argmax:
    """One coordinate per choice; the largest one (on a tie, the first) wins."""

    variable: Categorical

    @property
    def width(self) -> int:
        """How many choices there are."""
        return self.variable.size

    def mean(self, sigma: float) -> np.ndarray:
        """Return a mean that gives choices about their initial probabilities, shape (choices,)."""
        # Exact for Gumbel noise; a Gaussian of the same deviation comes close.
        logits = np.log(self.variable.probabilities)
        gumbel_deviation = math.pi / math.sqrt(6)
        return np.clip(0.5 + sigma * (logits - logits.mean()) / gumbel_deviation, 0.0, 1.0)

    def decode(self, x: np.ndarray) -> Any:
        """Return the choice of the largest coordinate."""
        return self.variable.at(int(np.argmax(x)))

    def encode(self, value: Any) -> np.ndarray:
        """Return the centre of the unit cube's part where the choice wins, shape (choices,)."""
        most = self.width / (self.width + 1)
        return np.where(np.arange(self.width) == self.variable.index(value), most, most / 2)

    def summary(self, mean: np.ndarray, cov: np.ndarray) -> float | list[float]:
        """Return the probabilities of the choices, estimated by drawing."""
        return frequencies(mean, cov, lambda x: np.argmax(x, axis=1), self.width)
