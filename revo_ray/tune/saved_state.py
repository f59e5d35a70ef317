"""SavedState: the file that a `CMAMVSearch` saves and is restored from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError

from revo_ray.evolve.proposals import Proposals, ReplayError
from revo_ray.evolve.space import Sample


class SavedState(BaseModel):
    """State of a searcher as plain JSON values. Samples hold the indices of their choices."""

    model_config = ConfigDict(extra="forbid")

    format: Literal[3] = 3
    space: Any
    """The search space, or None if it holds objects or functions."""
    metric: str | None
    mode: Literal["min", "max"] | None
    settings: dict[str, Any]
    """Settings of the optimiser, and `lookahead`."""
    told: dict[NonNegativeInt, tuple[dict[str, Any], float | None]]
    """Sample and value of each evaluation that has ended; the value of a failure is None."""
    live: dict[str, tuple[int, dict[str, Any]]]
    """Evaluation and sample of each live trial."""

    def write(self, path: str) -> None:
        """Write the file whole."""
        temporary = f"{path}.tmp"
        Path(temporary).write_text(json.dumps(self.model_dump(), allow_nan=False))
        os.replace(temporary, path)

    @classmethod
    def read(cls, path: str) -> SavedState:
        """Read a file. Nothing in it is run.

        Raises:
            ValueError: it is damaged, or of another version.
            OSError: it cannot be read.
        """
        try:
            return cls.model_validate(json.loads(Path(path).read_text()))
        except (ValueError, RecursionError) as error:
            cause = "no JSON"
            if isinstance(error, ValidationError):
                first = error.errors()[0]
                cause = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            raise ValueError(f"{path} is of another version, or damaged: {cause}") from None


def resume_live(
    proposals: Proposals[Any],
    told: Mapping[int, object],
    live: Mapping[str, tuple[int, Sample]],
) -> None:
    """Ask replayed proposals for the evaluations of live trials; the others are asked for later.

    Args:
        proposals: the proposals, which have replayed the told evaluations.
        told: evaluations that have ended.
        live: evaluation and sample of each live trial.

    Raises:
        ReplayError: an evaluation is told or live that could not be proposed, or not so.
    """
    waiting, again = dict(live.values()), []
    missing = next(n for n in range(len(told) + 1) if n not in told)
    beyond = proposals.first_dependent(missing)
    if len(waiting) < len(live) or (beyond is not None and max(told, default=-1) >= beyond):
        raise ReplayError("it has values that no trial can have had")
    while waiting and (proposal := proposals.ask()) is not None:
        sample = waiting.pop(proposal.evaluation, None)
        if sample is None:
            again.append(proposal.evaluation)
        else:
            proposals.check(proposal.evaluation, sample)
    if waiting:
        raise ReplayError(f"a trial is live with evaluation {min(waiting)}, not proposed yet")
    for evaluation in again:
        proposals.requeue(evaluation)
