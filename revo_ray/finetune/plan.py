"""Plan: the learning rates of one fine-tuning; and the protocol of a policy that changes them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from revo_ray.errors import first_line
from revo_ray.rundir.evaluation import MOST_UNITS

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from revo_ray.finetune.network.units import Unit
    from revo_ray.settings.schema import TrainConfig


RecipeName = Literal["momentum", "label_smoothing", "mixup", "cutmix"]
"""Keys of `train` that a plan may set for itself."""


@dataclass(frozen=True)
class Plan:
    """Learning rates of the units of a network (eqs. 1 and 2 of the REVO-Tune paper).

    Attributes:
        unit_lrs: the learning rate of each unit, in the order of the network's units; 0 freezes
            the unit: no gradient, no weight decay, eval mode (normalisation statistics left alone,
            no dropout, no stochastic depth).
        weight_decay: L2 penalty (SGD) or decoupled decay (AdamW) of every unit that trains;
            `train.decay_all` says whether its norms and biases are left out.
        policy: description of the per-epoch policy that changes the rates, in JSON values:
            `method`, the name of the method that has it, and its options; None keeps the rates.
        recipe: values that replace those of the keys of `train` with the same names. With AdamW
            `momentum` is β₁.

    Raises:
        ValueError: a rate, the weight decay or a value of the recipe is negative or not finite, the
            policy names no method, or no such key of `train` can be set.
    """

    unit_lrs: tuple[float, ...]
    weight_decay: float = 0.0
    policy: Mapping[str, Any] | None = None
    recipe: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        numbers = {"unit_lrs": self.unit_lrs, "weight_decay": (self.weight_decay,)}
        for name, values in (numbers | {key: (v,) for key, v in self.recipe.items()}).items():
            for value in values:
                if not (math.isfinite(value) and value >= 0):
                    raise ValueError(f"{name} must be finite and at least 0, not {value!r}")
        if unknown := set(self.recipe) - set(get_args(RecipeName)):
            raise ValueError(f"a plan's recipe cannot set {min(unknown)!r}")
        method = self.policy.get("method") if isinstance(self.policy, Mapping) else None
        if self.policy is not None and not isinstance(method, str):
            raise ValueError(f"policy must be a mapping with its method, not {self.policy!r}")

    @property
    def frozen(self) -> tuple[bool, ...]:
        """One flag for each unit: whether it keeps its pretrained weights."""
        return tuple(lr == 0 for lr in self.unit_lrs)

    def to_json(self) -> dict[str, Any]:
        """The plan as plain JSON values, which `from_json` reads; `recipe` only if it has one."""
        policy = None if self.policy is None else dict(self.policy)
        rates = list(self.unit_lrs)
        recipe = {"recipe": dict(self.recipe)} if self.recipe else {}
        return {"unit_lrs": rates, "weight_decay": self.weight_decay, "policy": policy} | recipe

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Plan:
        """Read what `to_json` wrote.

        Raises:
            ValueError: `unit_lrs` is missing, a key is unknown, or a value is no valid rate.
        """
        unknown = set(values) - {"unit_lrs", "weight_decay", "policy", "recipe"}
        if unknown or "unit_lrs" not in values:
            raise ValueError(
                "a plan needs unit_lrs and may have weight_decay, policy and recipe; "
                f"got {sorted(values)}"
            )
        try:
            rates = tuple(map(float, values["unit_lrs"]))
            recipe = {key: float(value) for key, value in values.get("recipe", {}).items()}
            decay = float(values.get("weight_decay", 0.0))
        except (TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"a value of a plan is no number: {first_line(error)}") from None
        if len(rates) > MOST_UNITS:
            raise ValueError(
                f"a plan of {len(rates):,} units; a network has {MOST_UNITS:,} at most"
            )
        return cls(rates, decay, values.get("policy"), recipe)


Rates = Sequence[float] | Mapping[str, float]
"""Learning rates of the units, in their order; or of single parameters by name, which freeze all
other parameters."""


class TunerLike(Protocol):
    """The parts of a `FineTuner` that a policy may use."""

    model: nn.Module
    """The model, in eval mode. The policy may change modes and `requires_grad`."""
    device: torch.device
    train: TrainConfig
    order: Tensor
    """(n,) positions of the training images in the order of this epoch."""
    images: int
    """Training images processed since the run began; a policy adds those that it looks at."""

    @property
    def units(self) -> Sequence[Unit]:
        """The model's units, input to output, with the names of their parameters."""
        ...

    @property
    def batches(self) -> Sequence[Tensor]:
        """`order` in batches (B,), as this epoch trains on them."""
        ...

    def loss(self, index: Tensor) -> Tensor:
        """Training loss () of the images at `index` (B,), without augmentation or mixing."""
        ...


class Policy(Protocol):
    """Changes the learning rates as each epoch starts."""

    def __call__(self, epoch: int, tuner: TunerLike, /) -> Rates | None:
        """Return the rates of an epoch; called before its first step.

        With new rates the optimizer starts anew. A policy that changed `requires_grad` must return
        rates.

        Args:
            epoch: its number, from 1.
            tuner: the fine-tuning under way.

        Returns:
            Rates of the units or of single parameters; None to change nothing.
        """
        ...
