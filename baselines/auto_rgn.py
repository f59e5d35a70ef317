"""Auto-RGN: rates in proportion to relative gradient norms, set anew each epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, ValidationError

from revo_ray.methods import Plan, Policy, Sample, Section, UnitLike

from .gradient import LR, WEIGHT_DECAY, Tuned, TunedOptions


class ScoringOptions(Section):
    """Options of the scoring."""

    batches: int = Field(5, ge=1)
    """Number of batches, from the epoch's first on, that give the gradients."""
    norms: Literal["untrained", "with-weight"] = "untrained"
    """untrained: normalisation layers are frozen; with-weight: they get the rate of their layer."""
    scoring: Literal["train", "eval"] = "train"
    """train: gradients in training mode, as published; the new head trains at the base rate. eval:
    gradients in eval mode; the new head is scored with the other tensors."""


class PolicyOptions(ScoringOptions):
    """Options in `Plan.policy`, besides the method."""

    lr: float = Field(gt=0)
    """The rate of the tensor with the largest score."""
    scoring: Literal["train", "eval"] = "eval"
    """A plan that does not say it was made when there was eval alone."""


class AutoRGN(Tuned):
    """Auto-RGN: each tensor at the rate times its relative gradient norm, set anew each epoch.

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
            "scoring": self.options.scoring,
        }
        return Plan((sample[LR],) * len(units), sample[WEIGHT_DECAY], policy)

    @classmethod
    def policy(cls, options: Mapping[str, Any]) -> Policy:
        """The policy that sets the rates of each epoch.

        Raises:
            ValueError: `lr` is missing, or an option is unknown or does not fit.
        """
        from .relative_gradient import RelativeGradientNorm  # imports torch

        own = {key: value for key, value in options.items() if key != "method"}
        try:
            checked = PolicyOptions.model_validate(own)
        except ValidationError as error:
            detail = error.errors()[0]
            where = ".".join(map(str, detail["loc"]))
            raise ValueError(f"policy.{where}: {detail['msg']}") from None
        return RelativeGradientNorm(checked.lr, checked.batches, checked.norms, checked.scoring)
