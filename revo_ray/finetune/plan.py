"""A plan: what a sample of the search space tells the fine-tuning to do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Plan:
    """How every unit of a network learns (eqs. 1 and 2 of the REVO-Tune paper).

    Attributes:
        unit_lrs: the learning rate of each unit, in the order of the network's units; 0 freezes
            the unit: no gradient, no weight decay, normalisation statistics left alone.
        weight_decay: L2 penalty (SGD) or decoupled decay (AdamW) of every unit that trains.
        policy: what makes the per-epoch policy that changes rates from the gradients: `method`,
            the method that has it, and its options, in JSON values; None keeps the rates constant.

    Raises:
        ValueError: a rate or the weight decay is negative or not finite, or the policy names no
            method.
    """

    unit_lrs: tuple[float, ...]
    weight_decay: float = 0.0
    policy: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        for name, values in (("unit_lrs", self.unit_lrs), ("weight_decay", (self.weight_decay,))):
            for value in values:
                if not (math.isfinite(value) and value >= 0):
                    raise ValueError(f"{name} must be finite and at least 0, not {value!r}")
        if self.policy is not None and not isinstance(self.policy.get("method"), str):
            raise ValueError(f"policy must name its method, not {self.policy!r}")

    @property
    def frozen(self) -> tuple[bool, ...]:
        """Which units keep their pretrained weights, one flag per unit."""
        return tuple(lr == 0 for lr in self.unit_lrs)

    def to_json(self) -> dict[str, Any]:
        """The plan as plain JSON values; `from_json` gives back an equal plan."""
        return {
            "unit_lrs": list(self.unit_lrs),
            "weight_decay": self.weight_decay,
            "policy": None if self.policy is None else dict(self.policy),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Plan:
        """Read what `to_json` wrote.

        Raises:
            ValueError: `unit_lrs` is missing, a key is unknown, or a value is no valid rate.
        """
        unknown = set(values) - {"unit_lrs", "weight_decay", "policy"}
        if unknown or "unit_lrs" not in values:
            raise ValueError(
                f"a plan needs unit_lrs and may have weight_decay and policy; got {sorted(values)}"
            )
        return cls(
            unit_lrs=tuple(float(lr) for lr in values["unit_lrs"]),
            weight_decay=float(values.get("weight_decay", 0.0)),
            policy=_mapping(values.get("policy")),
        )


def _mapping(policy: Any) -> Mapping[str, Any] | None:
    if policy is not None and not isinstance(policy, Mapping):
        raise ValueError(f"policy must be a mapping with its method, not {policy!r}")
    return policy
