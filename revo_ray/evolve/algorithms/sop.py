"""CMA-ES on sets of points (arXiv 2408.13046): discrete values are points of planes."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from revo_ray.evolve.algorithms.base import CovarianceName, levels
from revo_ray.evolve.algorithms.gaussian import Code, GaussianAlgorithm, Scale, Switch, frequencies
from revo_ray.evolve.algorithms.symmetric import SymmetricCMASoP
from revo_ray.evolve.space import Categorical, Integer, Real, Variable

# A plane of two such variables has this number of points squared, and compares every two.
_MOST_LEVELS = 32


class SoPAlgorithm(GaussianAlgorithm):
    """Continuous coordinates, then a plane for each pair of ordered variables or categorical."""

    def __init__(
        self,
        variables: dict[str, Variable],
        population_size: int,
        sigma: float,
        covariance: CovarianceName,
        seed: int,
    ) -> None:
        continuous: list[tuple[str, Scale]] = []
        switches: list[_Axis] = []
        grids: list[_Axis] = []
        polygons: list[_Plane] = []
        for name, variable in variables.items():
            if isinstance(variable, Real):
                continuous.append((name, Scale(variable)))
            elif variable.size == 2:
                switches.append(_Axis(name, Switch(variable), [0.0, 1.0]))
            elif isinstance(variable, Categorical):
                polygon = Polygon(variable)
                polygons.append(_Plane([(name, polygon)], polygon.points))
            elif variable.size > _MOST_LEVELS:
                continuous.append((name, Scale(variable)))
            else:
                grids.append(_Axis(name, Scale(variable), levels(variable)))
        planes = [*_paired(switches), *_paired(grids), *polygons]
        discrete = [code for plane in planes for code in plane.codes]
        mean, cov = self._lay_out([*continuous, *discrete], sigma, covariance)
        bounds = np.tile([-np.inf, np.inf], (len(mean), 1))
        bounds[: len(continuous)] = [0.0, 1.0]
        self._optimizer = SymmetricCMASoP(
            [plane.points for plane in planes] or None,
            mean,
            sigma,
            bounds if continuous else None,
            seed=seed,
            population_size=population_size,
            cov=cov,
        )
        self._check_neighbours(planes)

    def _check_neighbours(self, planes: list[_Plane]) -> None:
        # A point without neighbours silently turns the margin off, there and in all later planes.
        if not planes:
            return
        matrices = self._optimizer._get_neighbor_matrices()
        for plane, matrix in zip(planes, matrices, strict=True):
            if not matrix.any(axis=1).all():
                names = " × ".join(name for name, _ in plane.codes if name is not None)
                raise ValueError(
                    f"algorithm='sop': a point of {names} has no neighbour; use catcmawm"
                )

    def _ask(self) -> tuple[np.ndarray, np.ndarray]:
        raw, encoded = self._optimizer.ask()
        return np.ravel(encoded), raw


@dataclass(frozen=True)
class Polygon:
    """A point of the plane; the nearest vertex of a regular polygon is the choice.

    The vertices lie on the circle through the corners of the unit square, so that every choice
    has two neighbours, and all are as far from the middle as the values of a pair of switches.
    """

    variable: Categorical
    width: int = 2

    @property
    def points(self) -> np.ndarray:
        """Vertices, shape (choices, 2)."""
        return 0.5 + np.sqrt(0.5) * self._directions

    @property
    def _directions(self) -> np.ndarray:
        angles = 2 * np.pi * np.arange(self.variable.size) / self.variable.size + np.pi / 4
        return np.column_stack([np.cos(angles), np.sin(angles)])

    def mean(self, sigma: float) -> np.ndarray:
        """Return a mean that gives the choices about their initial probabilities, shape (2,)."""
        # To first order: the mass that a shift of a round Gaussian adds to a sector.
        size = self.variable.size
        shift = 2 * math.pi / (math.sqrt(math.pi / 2) * size * math.sin(math.pi / size))
        excess = self.variable.probabilities - 1 / size
        return np.asarray(0.5 + sigma * shift * excess @ self._directions)

    def decode(self, x: np.ndarray) -> Any:
        """Return the choice of the nearest vertex."""
        return self.variable.at(int(self._nearest(x[np.newaxis])[0]))

    def encode(self, value: Any) -> np.ndarray:
        """Return the point halfway from the polygon's centre to the choice's vertex, shape (2,)."""
        return np.asarray((0.5 + self.points[self.variable.index(value)]) / 2)

    def summary(self, mean: np.ndarray, cov: np.ndarray) -> float | list[float]:
        """Return the probabilities of the choices, estimated by drawing."""
        return frequencies(mean, cov, self._nearest, self.variable.size)

    def _nearest(self, x: np.ndarray) -> np.ndarray:
        distances = ((x[:, np.newaxis, :] - self.points) ** 2).sum(axis=2)
        return np.asarray(np.argmin(distances, axis=1))


class _Axis(NamedTuple):
    """One side of a plane; the name is None if it belongs to no variable."""

    name: str | None
    code: Code
    levels: list[float]


class _Plane(NamedTuple):
    """Two coordinates with one code or two, and the plane's points, shape (points, 2)."""

    codes: list[tuple[str | None, Code]]
    points: np.ndarray


def _paired(axes: list[_Axis]) -> list[_Plane]:
    """Make a plane of every two axes; one that is left over gets another of two idle points.

    The library needs sets of at least four points in two dimensions (or three in a triangle).
    """
    idle = _Axis(None, Switch(Integer(0, 1)), [0.0, 1.0])
    even = [*axes, idle] if len(axes) % 2 else axes
    return [
        _Plane(
            [(first.name, first.code), (second.name, second.code)],
            np.array([*itertools.product(first.levels, second.levels)]),
        )
        for first, second in zip(even[::2], even[1::2], strict=True)
    ]
