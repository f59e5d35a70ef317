"""Layer-wise rate decay: rates that fall geometrically from the head to the input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from revo_ray.methods import Plan, Real, Sample, Space, UnitLike

from .gradient import LR, WEIGHT_DECAY, Tuned, TunedOptions

DECAY = "decay"
LEAST_DECAY, GREATEST_DECAY = 0.5, 1.0


class LayerDecay(Tuned):
    """Layer-wise decay: the head at the rate, each step towards the input at a fraction of it.

    The rate of a unit is lr·decay^depth. The depth is 0 at the head and `steps` at the input, in
    equal parts between them. So a network has the same rates at any granularity, and the rates of
    one with fifty layers do not decay to nothing. `timm.optim.param_groups_layer_decay` takes one
    step for each residual or transformer block, 13 for the ViT-B that its default of 0.75 comes
    from (BEiT, Bao et al. 2022); ConvNeXt's recipe (Liu et al. 2022) takes 12 for any number of
    blocks.
    """

    name = "layer-decay"

    class Options(TunedOptions):
        decay: Annotated[float, Field(gt=0, le=1)] | Literal["searched"] = 0.75
        """Factor of a rate at each step, or `searched`, from 0.5 to 1."""
        steps: float = Field(12, gt=0)
        """Steps from the head to the input."""

    def space(self, units: Sequence[UnitLike]) -> Space:
        """`lr`, `wd`, and `decay` if it is searched."""
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
