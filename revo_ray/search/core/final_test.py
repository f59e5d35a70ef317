"""The test of the best model, when the search ends."""

from __future__ import annotations

from revo_ray.errors import SearchError
from revo_ray.search.core.retries import MAX_DEATHS


class FinalTest:
    """State of the test: to be made, being made, or made."""

    def __init__(self) -> None:
        self.scores: dict[str, float | None] | None = None
        """Scores of the best model on the test images; None before the test."""
        self.running = False
        """Whether a worker makes it."""
        self._deaths = 0

    @property
    def is_due(self) -> bool:
        """Whether no worker makes it and it has not been made."""
        return self.scores is None and not self.running

    def lost(self, cause: str | None) -> None:
        """The worker died, or the trial ended before it ran (without a cause): test again.

        Raises:
            SearchError: too many workers died.
        """
        self.running = False
        self._deaths += cause is not None
        if self._deaths >= MAX_DEATHS:
            raise untested(cause)


def untested(cause: str | None) -> SearchError:
    """The error to raise where the best model cannot be tested."""
    return SearchError(
        f"cannot test the best model: {cause}; every evaluation is kept, go on with --resume"
    )
