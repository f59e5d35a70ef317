"""Equal samples of one search: one evaluation is run, and its outcome answers the others."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from revo_ray.evolve.told_values import Outcome


class Duplicates:
    """Evaluations with equal samples, by the keys of their samples."""

    def __init__(self) -> None:
        self._owners: dict[Hashable, int] = {}
        self._waiting: dict[int, list[int]] = {}

    def owner(self, evaluation: int, key: Hashable, outcomes: Mapping[int, Outcome]) -> int:
        """The evaluation that is run for a key.

        It is this one, unless another is run now or has an outcome that can be reused.
        """
        owner = self._owners.get(key, evaluation)
        if owner in outcomes and not outcomes[owner].reusable:
            owner = evaluation
        self._owners[key] = owner
        return owner

    def note(self, evaluation: int, key: Hashable) -> None:
        """Take a recorded evaluation for its key's, if there is none yet."""
        self._owners.setdefault(key, evaluation)

    def wait(self, evaluation: int, owner: int) -> None:
        """Let an evaluation wait for the outcome of its owner."""
        self._waiting.setdefault(owner, []).append(evaluation)

    def released(self, owner: int) -> list[int]:
        """Evaluations that waited for this one, which has an outcome now."""
        return self._waiting.pop(owner, [])
