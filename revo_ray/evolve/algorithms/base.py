"""Algorithm: base class of the optimisers of `cmaes` (arXiv 2402.01373), with finite updates."""

from __future__ import annotations

import copy
import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from revo_ray.evolve.space import Categorical, Integer, Real, Sample, Variable

CovarianceName = Literal["depth", "independent"]
"""Kinds of initial covariance. depth: reals with a depth are correlated by it. independent: none
are."""
SHARED, NEAR = 0.15, 0.5
"""Parts of the initial variance that all depths share, and that neighbours share."""
LENGTH = 0.15
"""Distance of depths, of 1 for the whole network, at which the second part falls to exp(-1/2)."""

KEPT = 0.3
"""Part of the initial deviation of a real that stays, beside the covariance of its winners."""
LOOSE = 0.6
"""Part of the initial variance that stays of the overall rate. Other images, networks or epochs
often want the same pattern at another scale. Both parts did well on quadratics in 50 dimensions
whose optimum had moved by 0 to 1 decades, after 10, 20 and 40 evaluations."""

_log = logging.getLogger(__name__)


class Algorithm(ABC):
    """An optimiser of the library over variables with more than one value each."""

    _optimizer: Any

    @abstractmethod
    def ask(self) -> tuple[Sample, Any]:
        """Draw the variables' values, in any order, and the record that `tell` expects."""

    @abstractmethod
    def solution(self, sample: Sample) -> Any:
        """Return the record that `tell` expects of a sample that was not drawn here."""

    @abstractmethod
    def variables(self) -> dict[str, float | list[float]]:
        """Return each variable's mean, or the probabilities of its choices, in any order."""

    @property
    def _parts(self) -> list[Any]:
        """Objects of the library that hold the distribution; the last one has the Gaussian."""
        return [self._optimizer]

    @property
    def sigma(self) -> float:
        """Step size, in units of a scale's width."""
        return float(self._parts[-1]._sigma)

    def tell(self, told: list[tuple[Any, float]]) -> None:
        """Update the distribution, or leave it as it is if the update would not be finite."""
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


def initial_cov(
    variables: Sequence[Variable], sigma: float, covariance: CovarianceName
) -> np.ndarray:
    """Return the initial covariance in units of sigma², shape (variables, variables)."""
    deviations = np.array([_deviation(each, sigma) / sigma for each in variables])
    cov = np.diag(deviations**2)
    depths = [(i, each.depth) for i, each in enumerate(variables) if isinstance(each, Real)]
    placed = [(i, depth) for i, depth in depths if depth is not None]
    if covariance == "depth" and placed:
        rows = [i for i, _ in placed]
        scale = np.outer(deviations[rows], deviations[rows])
        cov[np.ix_(rows, rows)] = scale * depth_correlation(np.array([d for _, d in placed]))
    return _warm(cov, variables, sigma, covariance)


def _warm(
    cov: np.ndarray, variables: Sequence[Variable], sigma: float, covariance: CovarianceName
) -> np.ndarray:
    """Return the initial covariance of variables that have winners, from that of a cold start.

    WS-CMA-ES (arXiv 2012.06932) puts a round Gaussian around each winner and takes the covariance
    of their sum. The Gaussian here is the cold start's, narrowed: few winners span few directions,
    and the depths of the others then still say what varies together. With `depth` the overall rate
    stays loose: the reals without a depth, or all of them together if each has one. The winners
    of a real count with at most its own initial deviation: those of a short search lie far apart.
    """
    known = [(i, v) for i, v in enumerate(variables) if isinstance(v, Real) and v.winners]
    if not known:
        return cov
    rows = [i for i, _ in known]
    places = np.array([[v.to_unit(value) for value in v.winners] for _, v in known]) / sigma
    spread = np.atleast_2d(np.cov(places, bias=True))
    most = np.sqrt(np.diag(cov)[rows])
    shrunk = most / np.maximum(np.sqrt(np.diag(spread)), most)
    kept = np.ones(len(variables))
    kept[rows] = KEPT
    cov = cov * np.outer(kept, kept)
    cov[np.ix_(rows, rows)] += spread * np.outer(shrunk, shrunk)
    if covariance == "depth":
        alone = np.array([v.depth is None for _, v in known])
        overall = most * (alone if alone.any() else 1.0)
        cov[np.ix_(rows, rows)] += LOOSE * np.outer(overall, overall)
    return cov


def depth_correlation(depths: np.ndarray) -> np.ndarray:
    """Return the correlations of variables at these depths, shape (depths, depths).

    Three parts add up: one that all share, which moves the scale as a whole; one that falls with
    the distance, which moves neighbours together; and one of each variable alone.
    """
    distances = (depths[:, np.newaxis] - depths) / LENGTH
    own = 1 - SHARED - NEAR
    return SHARED + NEAR * np.exp(-0.5 * distances**2) + own * np.eye(len(depths))


def _deviation(variable: Variable, sigma: float) -> float:
    if isinstance(variable, Real):
        return variable.deviation or sigma
    if isinstance(variable, Integer) and variable.size > 2:
        # From the middle of three values, a small sigma would hardly ever reach the other two.
        return max(sigma, 0.5 / (variable.size - 1))
    return sigma


def initial_probabilities(variable: Integer | Categorical) -> np.ndarray:
    """Return the initial probabilities of a Categorical's choices or an Integer's two values."""
    if isinstance(variable, Categorical):
        return variable.probabilities
    # A start at an end still has to be able to leave it.
    second = min(max(variable.start_unit, 0.05), 0.95)
    return np.array([1 - second, second])


def index_of(variable: Integer | Categorical, value: Any) -> int:
    """Return the number of a Categorical's choice, or of an Integer's value."""
    if isinstance(variable, Categorical):
        return variable.index(value)
    return (int(value) - variable.low) // variable.step


def summary_of(variable: Integer | Categorical, probabilities: np.ndarray) -> float | list[float]:
    """Return the probabilities of a Categorical, or the mean of an Integer of two values."""
    if isinstance(variable, Categorical):
        return [float(probability) for probability in probabilities]
    return float(variable.low + probabilities[1] * (variable.high - variable.low))


def levels(variable: Real | Integer) -> list[float]:
    """Return the positions of an Integer's values, or a stepped Real's, on its scale, in [0, 1]."""
    return [variable.to_unit(variable.at(i)) for i in range(variable.size or 0)]
