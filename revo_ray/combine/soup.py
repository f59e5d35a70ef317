"""Greedy soups: means of weights (Wortsman et al. 2022, arXiv 2203.05482)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def choose_soup(
    candidates: Sequence[int], loss_of: Callable[[tuple[int, ...]], float]
) -> tuple[int, ...]:
    """Choose the members of a soup: the first, and each further one that lowers the loss.

    Args:
        candidates: evaluations, the best first.
        loss_of: the loss of the mean weights of some evaluations.
    """
    raise NotImplementedError


def mean_weights(states: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of weights and buffers, computed in double precision, in their types."""
    raise NotImplementedError
