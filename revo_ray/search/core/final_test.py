"""The test of the best model, once, when the budget is spent."""

from __future__ import annotations

from typing import Any

from revo_ray.errors import SearchError
from revo_ray.search.core.retries import MAX_DEATHS


class FinalTest:
    """State of the test: to be made, being made, or made."""

    def __init__(self) -> None:
        self.scores: dict[str, float | None] | None = None
        """Scores of the best model on the test images; None before the test."""
        self._running = False
        self._deaths = 0

    @property
    def is_due(self) -> bool:
        """Whether no worker makes it and it has not been made."""
        return self.scores is None and not self._running

    def begin(self) -> None:
        """A worker makes it."""
        self._running = True

    def finish(self, scores: dict[str, float | None] | None, error: str | None) -> None:
        """Take the scores.

        Raises:
            SearchError: there are none.
        """
        if scores is None:
            raise SearchError(
                f"cannot test the best model: {error}; every evaluation is kept, go on with "
                "--resume"
            )
        self.scores = scores

    def lost(self, cause: str | None) -> None:
        """The worker died, or the trial ended before it ran (without a cause): test again.

        Raises:
            SearchError: too many workers died.
        """
        self._running = False
        self._deaths += cause is not None
        if self._deaths >= MAX_DEATHS:
            self.finish(None, cause)

    def request(self, task: dict[str, Any], evaluation: int, retrain: Any) -> dict[str, Any]:
        """The configuration of the trial that makes it.

        Args:
            task: as of every trial of the search.
            evaluation: the best one.
            retrain: its plan if its weights were lost, else None.
        """
        return {"task": task, "test": evaluation, "retrain": retrain}
