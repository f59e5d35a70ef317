"""CMAMV: mixed-variable CMA-ES by ask and tell over a `Space`, with a choice of algorithms."""

from __future__ import annotations

import copy
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from cmaes import CMA, CatCMAwM, CMAwM
from cmaes.cmasop import CMASoP
from scipy.stats import norm

from revo_ray.evolve.space import Categorical, Integer, Real, Sample, Space, Variable

ALGORITHMS = ("catcmawm", "cmawm", "sop", "cma")

# Within noise the best of 0.05 … 0.3 for every algorithm, after 100 evaluations of rotated
# ellipsoids in 8 to 50 dimensions, of weighted bit-matching and of a mixed space.
DEFAULT_SIGMA = 0.125
# With 2 or 3 the library divides by a learning rate of zero, with 1 by an empty selection.
MINIMUM_POPULATION = 4

_log = logging.getLogger(__name__)


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
        sigma: Initial standard deviation of a variable, as a part of its scale's width. An Integer
            of few values has at least half the distance between two of them.
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
        sigma: float = DEFAULT_SIGMA,
        seed: int = 0,
    ) -> None:
        if algorithm not in _ADAPTORS:
            raise ValueError(f"algorithm={algorithm!r} is not one of {', '.join(ALGORITHMS)}")
        if population_size < MINIMUM_POPULATION:
            raise ValueError(
                f"population_size={population_size} is too small; use {MINIMUM_POPULATION} or more"
            )
        if not (math.isfinite(sigma) and sigma > 0):
            raise ValueError(f"sigma={sigma} must be positive and finite, such as 0.2")
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
            self._adaptor.tell(told)

    def distribution(self) -> dict[str, Any]:
        """Return what the next candidates are drawn from, for plots.

        Returns:
            `sigma`, the step size in units of a scale's width, and `variables`: for a Real or an
            Integer its mean in its own units, for a Categorical the probabilities of its choices
            (estimated from the variable's marginal distribution where they have no closed form).
        """
        return {"sigma": self._adaptor.sigma, "variables": self._adaptor.variables()}


class _Adaptor(ABC):
    """One algorithm of the library, over variables with more than one value each."""

    _optimizer: Any

    @abstractmethod
    def ask(self) -> tuple[Sample, Any]:
        """Return the searched variables' values and what the library must be told."""

    @abstractmethod
    def variables(self) -> dict[str, float | list[float]]:
        """Return each variable's mean, or the probabilities of its choices."""

    @property
    def _parts(self) -> list[Any]:
        """The library's objects that hold the distribution."""
        return [self._optimizer]

    @property
    def sigma(self) -> float:
        return float(self._parts[-1]._sigma)

    def tell(self, told: list[tuple[Any, float]]) -> None:
        """Update the distribution, or leave it where the update would not be finite."""
        before = [_copy_state(part) for part in self._parts]
        try:
            with np.errstate(all="ignore"):
                self._optimizer.tell(told)
            if all(_is_finite(part) for part in self._parts):
                return
        except np.linalg.LinAlgError:
            pass
        _log.warning("an update was not finite; the distribution stays as it was")
        for part, state in zip(self._parts, before, strict=True):
            vars(part).update(state)


def _copy_state(part: Any) -> dict[str, Any]:
    # The library updates some of its arrays and lists in place.
    return {
        name: copy.copy(value) if isinstance(value, np.ndarray | list) else value
        for name, value in vars(part).items()
    }


def _is_finite(part: Any) -> bool:
    names = ("_mean", "_sigma", "_C", "_A", "_p_sigma", "_pc", "_pmut", "_q", "_s", "_Delta")
    return all(np.all(np.isfinite(getattr(part, name, 0.0))) for name in names)


class _TailProofCatCMAwM(CatCMAwM):
    """CatCMAwM whose penalty for leaving the bounds survives ties and huge values."""

    def _calc_continuous_penalty(self, v_raw: np.ndarray, sorted_fvals: np.ndarray) -> np.ndarray:
        fvals = _without_tail(sorted_fvals)
        quartiles = fvals[self._popsize // 4], fvals[3 * self._popsize // 4]
        if not self._iqhist_values and quartiles[0] == quartiles[1]:
            # The library would take the median of no interquartile ranges.
            self._iqhist_values.append(float(fvals[-1] - fvals[0]) or 1.0)
        return super()._calc_continuous_penalty(v_raw, fvals)


def _without_tail(sorted_fvals: np.ndarray) -> np.ndarray:
    """Cap values at ten times the median distance from the best, where the quartile is far off.

    The library's penalties grow with the interquartile range of the values, so that three
    diverged losses of ten would outweigh all that the others say. Ties count once. Values whose
    upper quartile is within a hundred median distances come back as they are.
    """
    fvals = np.clip(sorted_fvals, -1e100, 1e100)
    excess = np.unique(fvals - fvals[0])[1:]
    if not excess.size:
        return fvals
    median = excess[(excess.size - 1) // 2]
    if fvals[3 * fvals.size // 4] - fvals[0] <= 100 * median:
        return fvals
    return np.minimum(fvals, fvals[0] + 10 * median)


class _CatCMAwMAdaptor(_Adaptor):
    """Reals are x, integers z, and whatever has two values or no order is c."""

    # The library keeps a table of every level, as wide as the widest variable.
    _most_levels: ClassVar[int] = 1024

    def __init__(
        self, variables: dict[str, Variable], population_size: int, sigma: float, seed: int
    ) -> None:
        self._variables = variables
        self._x: dict[str, Real | Integer] = {}
        self._z: dict[str, Integer] = {}
        self._c: dict[str, Integer | Categorical] = {}
        for name, variable in variables.items():
            if isinstance(variable, Real):
                self._x[name] = variable
            elif isinstance(variable, Categorical) or variable.size == 2:
                self._c[name] = variable
            elif variable.size > self._most_levels:
                self._x[name] = variable
            else:
                self._z[name] = variable
        scaled = [*self._x.values(), *self._z.values()]
        sizes = [variable.size for variable in self._c.values()]
        probabilities = np.zeros((len(sizes), max(sizes, default=0)))
        for i, variable in enumerate(self._c.values()):
            probabilities[i, : variable.size] = _initial_probabilities(variable)
        self._optimizer = _TailProofCatCMAwM(
            x_space=[[0.0, 1.0]] * len(self._x) or None,
            z_space=[_levels(variable) for variable in self._z.values()] or None,
            c_space=sizes or None,
            population_size=population_size,
            # The library writes into these.
            mean=np.array([variable.start_unit for variable in scaled]) if scaled else None,
            sigma=sigma,
            cov=_initial_cov(scaled, sigma) if scaled else None,
            cat_param=probabilities if sizes else None,
            seed=seed,
        )
        if not scaled:
            self._optimizer._sigma = sigma

    def ask(self) -> tuple[Sample, Any]:
        solution = self._optimizer.ask()
        sample: Sample = {}
        for i, (name, scale) in enumerate(self._x.items()):
            sample[name] = scale.from_unit(solution.x[i])
        for i, (name, scale) in enumerate(self._z.items()):
            sample[name] = scale.from_unit(solution.z[i])
        for i, (name, choice) in enumerate(self._c.items()):
            sample[name] = choice.at(int(np.argmax(solution.c[i])))
        return sample, solution

    def variables(self) -> dict[str, float | list[float]]:
        found: dict[str, float | list[float]] = {}
        for i, (name, scale) in enumerate([*self._x.items(), *self._z.items()]):
            found[name] = scale.interpolate(self._optimizer._mean[i])
        for i, (name, choice) in enumerate(self._c.items()):
            found[name] = _summary(choice, self._optimizer._q[i, : choice.size])
        return {name: found[name] for name in self._variables}


class _Code(Protocol):
    """How one variable stands in a vector that a Gaussian is sampled for."""

    @property
    def variable(self) -> Any:
        """The variable that the coordinates stand for."""

    @property
    def width(self) -> int:
        """How many coordinates there are."""

    def mean(self, sigma: float) -> np.ndarray:
        """Return where the Gaussian starts, shape (width,)."""

    def decode(self, x: np.ndarray) -> Any:
        """Return the value at coordinates x, shape (width,)."""

    def summary(self, mean: np.ndarray, cov: np.ndarray) -> float | list[float]:
        """Return the variable's mean or its choices' probabilities under a Gaussian.

        Shapes: mean (width,), cov (width, width).
        """


@dataclass(frozen=True)
class _Scale:
    """One coordinate, the position on the variable's scale."""

    variable: Real | Integer
    width: int = 1

    def mean(self, sigma: float) -> np.ndarray:
        return np.array([self.variable.start_unit])

    def decode(self, x: np.ndarray) -> float | int:
        return self.variable.from_unit(x[0])

    def summary(self, mean: np.ndarray, cov: np.ndarray) -> float | list[float]:
        return self.variable.interpolate(mean[0])


@dataclass(frozen=True)
class _Switch:
    """One coordinate, for two values: below one half the first, above it the second."""

    variable: Integer | Categorical
    width: int = 1

    def mean(self, sigma: float) -> np.ndarray:
        second = _initial_probabilities(self.variable)[1]
        return np.clip([0.5 + sigma * norm.ppf(second)], 0.0, 1.0)

    def decode(self, x: np.ndarray) -> Any:
        return self.variable.at(int(x[0] > 0.5))

    def summary(self, mean: np.ndarray, cov: np.ndarray) -> float | list[float]:
        second = norm.cdf((mean[0] - 0.5) / math.sqrt(cov[0, 0]))
        return _summary(self.variable, np.array([1 - second, second]))


@dataclass(frozen=True)
class _Argmax:
    """One coordinate per choice, of which the largest (on a tie, the first) wins."""

    variable: Categorical

    @property
    def width(self) -> int:
        return self.variable.size

    def mean(self, sigma: float) -> np.ndarray:
        # Exact for Gumbel noise; a Gaussian of the same deviation comes close.
        logits = np.log(self.variable.probabilities)
        gumbel_deviation = math.pi / math.sqrt(6)
        return np.clip(0.5 + sigma * (logits - logits.mean()) / gumbel_deviation, 0.0, 1.0)

    def decode(self, x: np.ndarray) -> Any:
        return self.variable.at(int(np.argmax(x)))

    def summary(self, mean: np.ndarray, cov: np.ndarray) -> float | list[float]:
        return _frequencies(np.argmax(_draws(mean, cov), axis=1), self.width)


@dataclass(frozen=True)
class _Polygon:
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
        # To first order: what a shift of a round Gaussian adds to the mass of a sector.
        size = self.variable.size
        shift = 2 * math.pi / (math.sqrt(math.pi / 2) * size * math.sin(math.pi / size))
        excess = self.variable.probabilities - 1 / size
        return np.asarray(0.5 + sigma * shift * excess @ self._directions)

    def decode(self, x: np.ndarray) -> Any:
        return self.variable.at(int(self._nearest(x[np.newaxis])[0]))

    def summary(self, mean: np.ndarray, cov: np.ndarray) -> float | list[float]:
        return _frequencies(self._nearest(_draws(mean, cov)), self.variable.size)

    def _nearest(self, x: np.ndarray) -> np.ndarray:
        distances = ((x[:, np.newaxis, :] - self.points) ** 2).sum(axis=2)
        return np.asarray(np.argmin(distances, axis=1))


class _VectorAdaptor(_Adaptor):
    """Common part of the algorithms that sample one Gaussian vector."""

    _codes: dict[str, _Code]
    _places: dict[str, slice]

    @abstractmethod
    def _ask(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the vector to decode and the vector to tell, shapes (dimensions,)."""

    def _lay_out(
        self, codes: Sequence[tuple[str | None, _Code]], sigma: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Give each code its place, in order, and return the initial mean and covariance matrix.

        A code without a name takes its place and is never decoded.
        """
        self._codes = {name: code for name, code in codes if name is not None}
        self._places = {}
        end = 0
        for name, code in codes:
            end += code.width
            if name is not None:
                self._places[name] = slice(end - code.width, end)
        variables = [code.variable for _, code in codes for _ in range(code.width)]
        mean = np.concatenate([code.mean(sigma) for _, code in codes])
        return mean, _initial_cov(variables, sigma)

    def ask(self) -> tuple[Sample, Any]:
        x, raw = self._ask()
        return {name: code.decode(x[self._places[name]]) for name, code in self._codes.items()}, raw

    def variables(self) -> dict[str, float | list[float]]:
        gaussian = self._parts[-1]
        scale = gaussian._sigma * getattr(self._optimizer, "_A", np.ones(len(gaussian._mean)))
        cov = scale[:, np.newaxis] * gaussian._C * scale
        return {
            name: code.summary(gaussian._mean[place], cov[place, place])
            for name, code in self._codes.items()
            for place in [self._places[name]]
        }


class _CMAAdaptor(_VectorAdaptor):
    """Reals only."""

    def __init__(
        self, variables: dict[str, Variable], population_size: int, sigma: float, seed: int
    ) -> None:
        discrete = [name for name, each in variables.items() if not isinstance(each, Real)]
        if discrete:
            raise ValueError(
                f"algorithm='cma' searches real variables only, and {discrete[0]} is"
                f" {variables[discrete[0]]}; use catcmawm"
            )
        codes = [(name, _Scale(each)) for name, each in variables.items() if isinstance(each, Real)]
        mean, cov = self._lay_out(codes, sigma)
        self._optimizer = CMA(
            mean,
            sigma,
            _unit_bounds(len(mean)),
            seed=seed,
            population_size=population_size,
            cov=cov,
        )

    def _ask(self) -> tuple[np.ndarray, np.ndarray]:
        x = self._optimizer.ask()
        return x, x


class _CMAwMAdaptor(_VectorAdaptor):
    """Stepped coordinates for what has equidistant values, continuous ones for all else."""

    def __init__(
        self, variables: dict[str, Variable], population_size: int, sigma: float, seed: int
    ) -> None:
        codes: list[tuple[str, _Code]] = []
        steps: list[float] = []
        for name, variable in variables.items():
            code: _Code
            if isinstance(variable, Real):
                code, step = _Scale(variable), 0.0
            elif variable.size == 2:
                code, step = _Switch(variable), 1.0
            elif isinstance(variable, Categorical):
                code, step = _Argmax(variable), 0.0
            else:
                # Values on a log scale are not equidistant: they are rounded when decoded.
                code, step = _Scale(variable), 0.0 if variable.log else 1 / (variable.size - 1)
            codes.append((name, code))
            steps += [step] * code.width
        mean, cov = self._lay_out(codes, sigma)
        self._optimizer = CMAwM(
            mean,
            sigma,
            _unit_bounds(len(mean)),
            np.array(steps),
            seed=seed,
            population_size=population_size,
            cov=cov,
        )

    @property
    def _parts(self) -> list[Any]:
        return [self._optimizer, self._optimizer._cma]

    def _ask(self) -> tuple[np.ndarray, np.ndarray]:
        encoded, raw = self._optimizer.ask()
        return encoded, raw


class _SoPAdaptor(_VectorAdaptor):
    """Continuous coordinates, then one plane per pair of ordered variables or per categorical.

    The library needs sets of at least four points in two dimensions (or three in a triangle): a
    variable left over when pairing has two points on the plane's other axis.
    """

    # A plane of two such variables has this number of points squared, compared each with each.
    _most_levels: ClassVar[int] = 32

    def __init__(
        self, variables: dict[str, Variable], population_size: int, sigma: float, seed: int
    ) -> None:
        continuous: dict[str, _Code] = {}
        switches: dict[str, _Code] = {}
        grids: dict[str, _Code] = {}
        polygons: dict[str, _Polygon] = {}
        for name, variable in variables.items():
            if isinstance(variable, Real):
                continuous[name] = _Scale(variable)
            elif variable.size == 2:
                switches[name] = _Switch(variable)
            elif isinstance(variable, Categorical):
                polygons[name] = _Polygon(variable)
            elif variable.size > self._most_levels:
                continuous[name] = _Scale(variable)
            else:
                grids[name] = _Scale(variable)
        axes = {**switches, **grids}
        planes = [*_pairs(list(switches)), *_pairs(list(grids)), *([name] for name in polygons)]
        sets_of_points = [
            polygons[plane[0]].points
            if plane[0] in polygons
            else _grid([_levels(axes[name].variable) for name in plane])
            for plane in planes
        ]
        codes: list[tuple[str | None, _Code]] = [*continuous.items()]
        for plane in planes:
            codes += [(name, polygons.get(name) or axes[name]) for name in plane]
            if plane[0] in axes and len(plane) == 1:
                codes.append((None, _Switch(Integer(0, 1))))
        mean, cov = self._lay_out(codes, sigma)
        self._order = list(variables)
        bounds = np.tile([-np.inf, np.inf], (len(mean), 1))
        bounds[: len(continuous)] = [0.0, 1.0]
        self._optimizer = CMASoP(
            sets_of_points or None,
            mean,
            sigma,
            bounds if continuous else None,
            seed=seed,
            population_size=population_size,
            cov=cov,
        )
        self._check_neighbours(planes)

    def _check_neighbours(self, planes: list[list[str]]) -> None:
        # A point without neighbours silently turns the margin off, there and in what follows.
        if not planes:
            return
        matrices = self._optimizer._get_neighbor_matrices()
        for plane, matrix in zip(planes, matrices, strict=True):
            if not matrix.any(axis=1).all():
                raise RuntimeError(
                    f"algorithm='sop': a point of {' × '.join(plane)} has no neighbour;"
                    " use catcmawm"
                )

    def _ask(self) -> tuple[np.ndarray, np.ndarray]:
        raw, encoded = self._optimizer.ask()
        return np.ravel(encoded), raw

    def ask(self) -> tuple[Sample, Any]:
        sample, raw = super().ask()
        return {name: sample[name] for name in self._order}, raw

    def variables(self) -> dict[str, float | list[float]]:
        found = super().variables()
        return {name: found[name] for name in self._order}


def _pairs(names: list[str]) -> list[list[str]]:
    return [names[i : i + 2] for i in range(0, len(names), 2)]


def _grid(levels: list[list[float]]) -> np.ndarray:
    """Every combination of two axes' levels, shape (points, 2); the second defaults to (0, 1)."""
    first, second = [*levels, [0.0, 1.0]][:2]
    return np.array([[a, b] for a in first for b in second])


def _levels(variable: Integer | Categorical) -> list[float]:
    """Positions of a variable's values; 0 and 1 for any that has two of them."""
    if isinstance(variable, Categorical) or variable.size == 2:
        return [0.0, 1.0]
    return [variable.to_unit(variable.at(i)) for i in range(variable.size)]


def _unit_bounds(dimensions: int) -> np.ndarray:
    return np.tile([0.0, 1.0], (dimensions, 1))


def _initial_cov(variables: Sequence[Variable], sigma: float) -> np.ndarray:
    """Covariance matrix in units of sigma², one dimension per variable given."""
    deviations = [
        # From the middle of three values, a small sigma would hardly ever reach the other two.
        max(sigma, 0.5 / (each.size - 1)) if isinstance(each, Integer) and each.size > 2 else sigma
        for each in variables
    ]
    return np.diag((np.array(deviations) / sigma) ** 2)


def _initial_probabilities(variable: Integer | Categorical) -> np.ndarray:
    if isinstance(variable, Categorical):
        return variable.probabilities
    # A start at an end still has to be able to leave it.
    second = min(max(variable.start_unit, 0.05), 0.95)
    return np.array([1 - second, second])


def _summary(variable: Integer | Categorical, probabilities: np.ndarray) -> float | list[float]:
    if isinstance(variable, Categorical):
        return [float(probability) for probability in probabilities]
    return float(variable.low + probabilities[1] * (variable.high - variable.low))


def _draws(mean: np.ndarray, cov: np.ndarray) -> np.ndarray:
    """Draw from a Gaussian with random numbers of its own; shape (2048, dimensions)."""
    rng = np.random.default_rng(0)
    return rng.multivariate_normal(mean, cov, size=2048, method="eigh", check_valid="ignore")


def _frequencies(indices: np.ndarray, size: int) -> list[float]:
    return [float(count) for count in np.bincount(indices, minlength=size) / len(indices)]


_ADAPTORS: dict[str, Callable[[dict[str, Variable], int, float, int], _Adaptor]] = {
    "catcmawm": _CatCMAwMAdaptor,
    "cmawm": _CMAwMAdaptor,
    "sop": _SoPAdaptor,
    "cma": _CMAAdaptor,
}
