"""The optimisers of `cmaes` with the symmetric root of the covariance: the same on every CPU.

The library samples with B·D, where C = B·D²·Bᵀ. Equal eigenvalues leave the vectors in B to chance,
and rounding decides it: two kinds of CPU sample different points from the same distribution. The
symmetric root B·D·Bᵀ is a function of C alone, and a continuous one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from cmaes import CMA, CatCMAwM, CMAwM
from cmaes.cmasop import CMASoP

# The library gives negative eigenvalues 1e-8, in any matrix: a jump in the root.
_SMALLEST_EIGENVALUE = 1e-10


class _SymmetricRoot:
    """Mixin of an optimiser of the library, which samples with the symmetric root."""

    _rng: np.random.RandomState
    _mean: np.ndarray
    _sigma: float
    _C: np.ndarray
    _B: np.ndarray | None
    _D: np.ndarray | None
    _A: np.ndarray | float = 1.0

    def _eigen_decomposition(self) -> tuple[np.ndarray, np.ndarray]:
        """Return eigenvectors, shape (n, n), and roots of the eigenvalues, shape (n,), of C."""
        if self._B is None or self._D is None:
            squares, self._B = np.linalg.eigh((self._C + self._C.T) / 2)
            self._D = np.sqrt(np.maximum(squares, _SMALLEST_EIGENVALUE * squares[-1]))
            self._C = (self._B * self._D**2) @ self._B.T
        return self._B, self._D

    def _sample_solution(self) -> np.ndarray:
        """Draw a vector from the Gaussian, shape (n,)."""
        vectors, roots = self._eigen_decomposition()
        noise = self._rng.randn(len(self._mean))
        step = vectors @ (roots * (vectors.T @ noise))
        return np.asarray(self._mean + self._sigma * self._A * step)

    _sample_from_gaussian = _sample_solution


class SymmetricCMA(_SymmetricRoot, CMA):
    """CMA-ES (arXiv 1604.00772) with the symmetric root."""


class SymmetricCMASoP(_SymmetricRoot, CMASoP):
    """CMA-ES on sets of points (arXiv 2408.13046) with the symmetric root."""


class SymmetricCatCMAwM(_SymmetricRoot, CatCMAwM):
    """CatCMA with Margin (arXiv 2504.07884) with the symmetric root."""


class SymmetricCMAwM(CMAwM):
    """CMA-ES with Margin (arXiv 2205.13482) around a CMA-ES with the symmetric root.

    Args:
        mean, sigma, bounds, steps: As in the library.
        settings: `seed`, `population_size` and `cov`, as in the library.
    """

    def __init__(
        self,
        mean: np.ndarray,
        sigma: float,
        bounds: np.ndarray,
        steps: np.ndarray,
        **settings: Any,
    ) -> None:
        super().__init__(mean, sigma, bounds, steps, **settings)
        self._cma = SymmetricCMA(mean, sigma, bounds, **settings)
