"""The retry rule: an evaluation whose worker died is made again, up to a limit."""

from __future__ import annotations

MAX_DEATHS = 3
"""Workers that one evaluation may lose before its row says error."""


class Retries:
    """Counts the workers that each evaluation has lost."""

    def __init__(self) -> None:
        self._causes: dict[int, list[str]] = {}

    def lost(self, evaluation: int, cause: str) -> bool:
        """Note a lost worker.

        Returns:
            Whether the evaluation is to be made again.
        """
        causes = self._causes.setdefault(evaluation, [])
        causes.append(cause)
        return len(causes) < MAX_DEATHS

    def deaths(self, evaluation: int) -> int:
        """Number of workers that the evaluation has lost."""
        return len(self._causes.get(evaluation, ()))

    def error(self, evaluation: int) -> str:
        """The error of an evaluation that is given up."""
        causes = self._causes[evaluation]
        return f"lost {len(causes)} times: {causes[-1]}"
