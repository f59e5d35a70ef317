"""Suggest split fractions that work, for the error about one that does not."""

from __future__ import annotations

from pydantic import ValidationError

from revo_ray.data.splits.candidates import Candidates
from revo_ray.data.splits.draw import TooSmallError, draw_splits
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig

TRIES = 20
"""Number of fractions to try in search of the smallest that works."""


def suggest(candidates: Candidates, config: DataConfig, error: TooSmallError) -> str:
    """Suggest the smallest fractions that work, or another remedy if none do."""
    raised = _smallest_fractions(candidates, config, error)
    if raised:
        own, *others = (f"{value:.9f}".rstrip("0") for value in raised.values())
        also = zip(list(raised)[1:], others, strict=True)
        return f"use at least {own}" + "".join(f", and {key} at least {x}" for key, x in also)
    smaller = [split for split in ("validation", "test", "train") if split != error.split]
    works = f"no {error.split}_fraction works beside the others: "
    if error.least is None:
        smaller, works = [split for split in smaller if split in candidates.to_draw], ""
    keys = " or ".join(f"{split}_fraction" for split in smaller)
    return f"{works}use a smaller {keys}, leave the class out or add images"


def _smallest_fractions(
    candidates: Candidates, config: DataConfig, error: TooSmallError
) -> dict[str, float] | None:
    """Find the fractions that must be raised, first the one in error; None if that cannot help."""
    scale = 10 ** max(4, len(str(candidates.total)))
    least: dict[str, int] = {}
    raised: dict[str, float] = {}
    for _ in range(TRIES):
        if error.least is None:
            return None
        least[error.split] = max(error.least, least.get(error.split, 0) + 1)
        steps, rest = divmod(least[error.split] * scale, candidates.total)
        # The size of the training split is rounded down, that of the others up.
        steps += error.split == "train" and rest > 0
        raised[f"{error.split}_fraction"] = steps / scale
        try:
            draw_splits(candidates, DataConfig.model_validate(config.model_dump() | raised))
        except TooSmallError as following:
            error = following
        except (ValidationError, UserError):
            return None
        else:
            return raised
    return None
