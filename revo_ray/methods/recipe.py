"""Training settings as genes beside the rates: their ranges, and their part of a plan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from revo_ray.evolve.space import Real, Sample
from revo_ray.finetune.plan import Plan, RecipeName

WEIGHT_DECAY: Literal["weight_decay"] = "weight_decay"
DECAYS = (1e-6, 1e-1)
"""Range of a searched weight decay, on a log scale, the same for all methods."""

GENES: dict[RecipeName, Real] = {
    "momentum": Real(0.0, 0.99, start=0.9),
    "label_smoothing": Real(0.0, 0.3, start=0.1),
    "mixup": Real(0.0, 1.0, step=0.01, start=0.2),
    "cutmix": Real(0.0, 1.0, step=0.01, start=0.2),
}
"""Ranges of the other settings. Each begins at its usual value. The best momentum of a fine-tuning
may be far from it (arXiv 2002.11770)."""

RecipeGene = RecipeName | Literal["weight_decay"]
Recipe = tuple[RecipeGene, ...]
"""Names of the settings that are genes, those of their keys below `train:`."""


def recipe_variables(
    recipe: Sequence[RecipeGene], weight_decay: tuple[float, float] | None = None
) -> dict[str, Real]:
    """A variable for each setting, by its name.

    Args:
        recipe: names of the settings.
        weight_decay: range of the weight decay; None: `DECAYS`.
    """
    decay = Real(*(weight_decay or DECAYS), log=True)
    return {name: decay if name == WEIGHT_DECAY else GENES[name] for name in recipe}


def recipe_plan(rates: Iterable[float], sample: Sample, recipe: Sequence[RecipeGene]) -> Plan:
    """The plan of rates and of the settings in a sample, which may have none."""
    values: dict[str, float] = {name: float(sample[name]) for name in recipe if name in GENES}
    return Plan(tuple(rates), float(sample.get(WEIGHT_DECAY, 0.0)), recipe=values)
