"""Layer-wise rate decay: rates that fall geometrically from the head to the input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from baselines.gradient import LR, WEIGHT_DECAY, Tuned, TunedOptions
from revo_ray.evolve.proposals import Sample
from revo_ray.evolve.space import Real, Space
from revo_ray.finetune.plan import Plan
from revo_ray.methods.genome import UnitLike

DECAY = "decay"
LEAST_DECAY, GREATEST_DECAY = 0.5, 1.0


class LayerDecay(Tuned):
    """Layer-wise decay: the head at the rate, each step towards the input at a fraction of it.

    The rate of a unit is lr·decay^depth: depth 0 at the head, `steps` at the input, and in equal
    parts between them. So a network has the same rates at any granularity, and one of fifty
    layers does not decay to nothing. `timm.optim.param_groups_layer_decay` takes one step for each
    residual or transformer block, 13 for the ViT-B that its default of 0.75 comes from (BEiT,
    Bao et al. 2022); ConvNeXt's recipe (Liu et al. 2022) has 12 whatever the number of blocks.
    """

    name = "layer-decay"

    class Options(TunedOptions):
        decay: Annotated[float, Field(gt=0, le=1)] | Literal["searched"] = 0.75
        """What a rate is multiplied by at each step, or `searched`, from 0.5 to 1."""
        steps: float = Field(12, gt=0)
        """Steps from the head to the input."""

    def space(self, units: Sequence[UnitLike]) -> Space:
        """`lr`, `wd`, and `decay` where it is searched."""
        space = super().space(units)
        if self.options.decay == "searched":
            space = Space({**space, DECAY: Real(LEAST_DECAY, GREATEST_DECAY)})
        return space

    def plan(self, sample: Sample, units: Sequence[UnitLike]) -> Plan:
        """Rates that fall from the head to the first unit."""
        decay = sample.get(DECAY, self.options.decay)
        below = [index for index, unit in enumerate(units) if not unit.head]
        depths = dict.fromkeys(range(len(units)), 0.0)
        for place, index in enumerate(reversed(below), start=1):
            depths[index] = self.options.steps * place / len(below)
        rates = tuple(sample[LR] * decay**depth for depth in depths.values())
        return Plan(rates, sample[WEIGHT_DECAY])
