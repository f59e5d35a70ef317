"""Auto-RGN: rates in proportion to relative gradient norms, anew each epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError

from baselines.gradient import LR, WEIGHT_DECAY, Tuned, TunedOptions
from revo_ray.evolve.proposals import Sample
from revo_ray.finetune.plan import Plan
from revo_ray.methods.genome import UnitLike
from revo_ray.settings.schema import Section

if TYPE_CHECKING:
    from revo_ray.finetune.training.tuner import Policy


class ScoringOptions(Section):
    """How tensors are scored."""

    batches: int = Field(5, ge=1)
    """The epoch's first so many batches give the gradients."""
    norms: Literal["untrained", "with-weight"] = "untrained"
    """Normalisation layers have no score; with-weight: they learn as fast as their layer."""


class PolicyOptions(ScoringOptions):
    """What `Plan.policy` carries besides the method."""

    lr: float = Field(gt=0)
    """The rate of the tensor with the largest score."""


class AutoRGN(Tuned):
    """Auto-RGN: each tensor at the rate times its relative gradient norm, anew each epoch.

    Lee et al. 2022, Surgical fine-tuning improves adaptation to distribution shifts (arXiv
    2210.11466); `baselines/relative_gradient.py` has the formula.
    """

    name = "auto-rgn"

    class Options(TunedOptions, ScoringOptions):
        pass

    def plan(self, sample: Sample, units: Sequence[UnitLike]) -> Plan:
        """Every unit at the base rate, which the policy scales tensor by tensor."""
        policy = {
            "method": self.name,
            "lr": sample[LR],
            "batches": self.options.batches,
            "norms": self.options.norms,
        }
        return Plan((sample[LR],) * len(units), sample[WEIGHT_DECAY], policy)

    @classmethod
    def policy(cls, options: Mapping[str, Any]) -> Policy:
        """The policy that such a plan asks for.

        Raises:
            ValueError: `lr` is missing, or an option is unknown or does not fit.
        """
        from baselines.relative_gradient import RelativeGradientNorm  # imports torch

        own = {key: value for key, value in options.items() if key != "method"}
        try:
            checked = PolicyOptions.model_validate(own)
        except ValidationError as error:
            detail = error.errors()[0]
            where = ".".join(map(str, detail["loc"]))
            raise ValueError(f"policy.{where}: {detail['msg']}") from None
        return RelativeGradientNorm(checked.lr, checked.batches, checked.norms)
