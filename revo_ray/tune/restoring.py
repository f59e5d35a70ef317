"""Restoring: the search that a saved state belongs to, or the reason why it belongs to none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from revo_ray.evolve.proposals import ReplayError
from revo_ray.tune.given import Given
from revo_ray.tune.param_space import ParamSpace
from revo_ray.tune.running_search import RunningSearch
from revo_ray.tune.saved_state import SavedState

_UNFIT = (ValueError, TypeError, LookupError, ArithmeticError, RecursionError)
"""Errors that values of an edited file may raise when they are used."""


def saved_space(state: SavedState, path: str) -> ParamSpace:
    """The search space of a state.

    Raises:
        ValueError: it has none, or a damaged one.
    """
    if state.header.space is None:
        raise ValueError(
            f"{path} holds no search space, since that has values that are not JSON; give it "
            "again: Tuner.restore(path, trainable, param_space=…)"
        )
    try:
        return ParamSpace.from_json(state.header.space)
    except _UNFIT as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def resumed(
    state: SavedState,
    path: str,
    space: ParamSpace,
    settings: Mapping[str, Any],
    points: Sequence[Given],
) -> RunningSearch | None:
    """The search that a state was saved of; None if it had not begun.

    Raises:
        ValueError: the state is of other settings, points or another search space.
    """
    if state.header.settings != settings:
        raise ValueError(f"{path} was saved with {state.header.settings}, not {settings}")
    if not any((state.given, state.told, state.snapshot.live, state.snapshot.ended)):
        return None
    try:
        search = RunningSearch.resumed(space, settings, state)
    except (ReplayError, *_UNFIT) as error:
        raise ValueError(
            f"{path} was saved with another search space ({error}); restore it with the one that "
            "it was saved with"
        ) from None
    coded = [space.encode(each.sample(space)) for each in points]
    if [state.given.get(number) for number in range(len(coded))] != coded:
        raise ValueError(f"{path} was saved with other points_to_evaluate; give the same ones")
    return search
