"""Comparison of recorded evaluations with the proposals of the search that is to continue them."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from revo_ray.evolve.space import Sample
from revo_ray.words import shown


class ReplayError(Exception):
    """The recorded evaluations are not those that this search would have proposed."""


def check_recorded(
    evaluation: int, recorded: Sample, proposed: Sample, key: Callable[[Sample], Hashable]
) -> None:
    """Check that an evaluation is recorded with the sample that the search proposes.

    Raises:
        ReplayError: it is recorded with another sample.
    """
    if recorded != proposed and not _same(recorded, proposed, key):
        raise ReplayError(
            f"evaluation {evaluation} is recorded with the sample {shown(recorded, 120)}, but "
            f"this search proposes {shown(proposed, 120)}"
        )


def _same(recorded: Sample, proposed: Sample, key: Callable[[Sample], Hashable]) -> bool:
    try:
        return key(recorded) == key(proposed)
    except (ValueError, TypeError, LookupError, ArithmeticError):  # a sample of another space
        return False
