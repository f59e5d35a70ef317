"""Requests: the work that a search hands to a worker, in plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from revo_ray.evolve.proposals import Proposal


@dataclass(frozen=True)
class Request:
    """Work for one trial.

    Attributes:
        proposal: the evaluation to make, with its sample; None for other work, see `FinalForms`.
        config: the trial's configuration; plain values.
    """

    proposal: Proposal | None
    config: dict[str, Any]
