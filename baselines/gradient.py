"""Fine-tuning of all layers, the first or the last, at one tuned rate: the usual practice."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from revo_ray.methods import (
    DECAYS,
    HIGHEST,
    LARGEST,
    LOWEST,
    Bounds,
    Method,
    Plan,
    Proposals,
    Real,
    Sample,
    SearchOptions,
    Section,
    Space,
    TrainConfig,
    UnitLike,
    UserError,
)

LR, WEIGHT_DECAY = "lr", "wd"


class TunedOptions(Section):
    """Options of methods that search a rate and a weight decay."""

    lr: Bounds = (10**LOWEST, 10**HIGHEST)
    """Range of the learning rate, on a log scale; by default that of the revo methods."""
    weight_decay: Bounds = DECAYS
    """Range of the weight decay, on a log scale."""
    startup: int = Field(20, ge=1, le=LARGEST)
    """Random proposals before TPE learns from their values."""
    halving: Literal["asha", "none"] = "asha"
    """Whether asynchronous successive halving stops evaluations early."""
    reduction_factor: float | None = Field(None, ge=1.5)
    """Evaluations at a rung of asha for each that goes on; None: 4."""
    grace_period: int = Field(1, ge=1, le=LARGEST)
    """Epochs before the first rung of asha."""


class Tuned(Method):
    """A learning rate and a weight decay, searched by TPE with successive halving."""

    Options: ClassVar[type[Section]] = TunedOptions

    @abstractmethod
    def plan(self, sample: Sample, units: Sequence[UnitLike]) -> Plan:
        """The plan of a rate and a weight decay."""

    def space(self, units: Sequence[UnitLike]) -> Space:
        """`lr` and `wd`; they do not depend on the units."""
        bounds = {LR: self.options.lr, WEIGHT_DECAY: self.options.weight_decay}
        return Space({name: Real(low, high, log=True) for name, (low, high) in bounds.items()})

    def searcher(self, space: Space, search: SearchOptions) -> Proposals[Any]:
        """TPE, one proposal at a time."""
        from .tpe import TPE  # imports Ray, which workers need not do to train

        tpe = TPE(space, seed=search.seed, startup=self.options.startup)
        # An early stop depends on earlier evaluations, so equal samples need not end alike.
        reuse = self.options.halving == "none"
        return Proposals(tpe, space, budget=search.evaluations, reuse=reuse)

    def scheduler(self, search: SearchOptions, train: TrainConfig) -> Any | None:
        """Ray Tune's asynchronous successive halving with one bracket, or None.

        Its rungs are at grace_period·reduction_factor^k epochs. It stops an evaluation that is
        worse there than the best 1/reduction_factor of those that came before. (Li et al. 2020, A
        system for massively parallel hyperparameter tuning.)

        Raises:
            UserError: the first rung lies beyond the last epoch.
        """
        first_rung = self.options.grace_period
        if self.options.halving == "none":
            return None
        if first_rung > train.epochs:
            raise UserError(
                f"is {first_rung}; it may be at most train.epochs, {train.epochs}",
                key="method.grace_period",
            )
        from ray.tune.schedulers import ASHAScheduler  # as above

        return ASHAScheduler(
            max_t=train.epochs,
            grace_period=first_rung,
            reduction_factor=self.options.reduction_factor or 4,
            brackets=1,
            time_attr="epoch",
            metric=search.metric.column,
            mode=search.metric.mode,
        )


class Full(Tuned):
    """Full fine-tuning: every unit at one rate."""

    name = "full"

    def plan(self, sample: Sample, units: Sequence[UnitLike]) -> Plan:
        """Every unit at the sample's rate."""
        return Plan((sample[LR],) * len(units), sample[WEIGHT_DECAY])


class First(Tuned):
    """First-layer fine-tuning: the first unit and the new head."""

    name = "first"

    def plan(self, sample: Sample, units: Sequence[UnitLike]) -> Plan:
        """The first unit and the head at the sample's rate, the others frozen."""
        trains = (index == 0 or unit.head for index, unit in enumerate(units))
        return Plan(tuple(sample[LR] if train else 0.0 for train in trains), sample[WEIGHT_DECAY])


class Last(Tuned):
    """Last-layer fine-tuning: the new head alone, on frozen features."""

    name = "last"

    def plan(self, sample: Sample, units: Sequence[UnitLike]) -> Plan:
        """The head at the sample's rate, the others frozen."""
        rates = tuple(sample[LR] if unit.head else 0.0 for unit in units)
        return Plan(rates, sample[WEIGHT_DECAY])
