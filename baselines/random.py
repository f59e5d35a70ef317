"""Random search over the same genomes, at the same budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from revo_ray.methods import (
    DECAYS,
    HIGHEST,
    LOWEST,
    Bounds,
    Evolved,
    Exponent,
    Proposals,
    Recipe,
    RevoBinary,
    RevoContinuous,
    RevoMixed,
    Sample,
    SearchOptions,
    Section,
    Space,
)


@dataclass(frozen=True)
class Draw:
    """One sample, drawn uniformly on each variable's scale."""

    sample: Sample


class Draws:
    """An optimiser that never learns and has no generations.

    Args:
        space: space of the samples.
        seed: seed of the draws.
    """

    population_size = None

    def __init__(self, space: Space, seed: int) -> None:
        self._space = space
        self._rng = np.random.default_rng(seed)

    def ask(self) -> Draw:
        """The next draw."""
        return Draw(self._space.random(self._rng))

    def tell(self, solutions: list[tuple[Draw, float]]) -> None:
        """Do nothing: the draws do not depend on the values."""


class Random(Evolved):
    """Random search over the genome of revo-continuous, revo-binary or revo-mixed."""

    name = "random"

    class Options(Section):
        encoding: Literal["continuous", "binary", "mixed"] = "continuous"
        """Genome that is drawn; the other keys are those of its method."""
        scale: Literal["log", "linear", "relative"] = "log"
        """That of `revo-continuous`."""
        low: Exponent = LOWEST
        """Rates are drawn from 10^low, on a log scale."""
        high: Exponent = HIGHEST
        """Rates are drawn up to 10^high."""
        spread: float = Field(2.0, gt=0, le=6)
        """Decades that a unit's rate may lie above or below a base rate."""
        weight_decay: Bounds | None = DECAYS
        """Range of the weight decay, as of the method whose genome is drawn."""
        recipe: Recipe | None = None
        """Settings of `train` that are drawn too, as of the revo methods."""
        global_lr: Annotated[float, Field(gt=0)] | Literal["searched"] = "searched"
        """That of `revo-binary`."""
        head: Literal["trained", "searched"] = "trained"
        """That of `revo-binary`."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        kinds: dict[str, type[Evolved]] = {
            "continuous": RevoContinuous,
            "binary": RevoBinary,
            "mixed": RevoMixed,
        }
        kind = kinds[options.encoding]
        own = options.model_dump(include=set(kind.Options.model_fields))
        self.genome_type = kind(kind.Options.model_validate(own)).genome_type

    def searcher(self, space: Space, search: SearchOptions) -> Proposals[Any]:
        """Independent draws, without generations, so that no worker waits."""
        draws = Draws(space, search.seed)
        return Proposals(draws, space, budget=search.evaluations, reuse=True)
