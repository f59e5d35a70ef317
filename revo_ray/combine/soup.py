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
        loss_of: the loss of the mean weights of some evaluations. NaN lowers no loss.

    Returns:
        The members in the order of the candidates; empty if there are none.
    """
    members: tuple[int, ...] = ()
    least = float("inf")
    for candidate in candidates:
        tried = (*members, candidate)
        loss = loss_of(tried)
        if loss < least or not members:
            members = tried
            least = loss if loss < least else least
    return members


def mean_weights(states: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of weights and buffers, computed in double precision, in their types.

    At no time is more than one of the states needed beside the sum. Integers are rounded.

    Raises:
        ValueError: there are no states, or they hold different tensors.
    """
    sums: dict[str, Tensor] = {}
    types = {}
    count = 0
    for state in states:
        if count == 0:
            sums = {name: tensor.double().clone() for name, tensor in state.items()}
            types = {name: tensor.dtype for name, tensor in state.items()}
        elif state.keys() != sums.keys():
            raise ValueError(f"other tensors: {sorted(state.keys() ^ sums.keys())}")
        else:
            for name, tensor in state.items():
                sums[name] += tensor
        count += 1
    if count == 0:
        raise ValueError("no states to average")
    return {
        name: (total / count if types[name].is_floating_point else (total / count).round()).to(
            types[name]
        )
        for name, total in sums.items()
    }
