"""From learning rates to an optimizer: who trains, parameter groups, schedule."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from revo_ray.finetune.network.units import Unit
from revo_ray.finetune.plan import Rates
from revo_ray.settings.schema import TrainConfig


def rates_by_parameter(units: Sequence[Unit], rates: Rates) -> Mapping[str, float]:
    """The rates of parameters by name, from those of the units in their order.

    Raises:
        ValueError: there are more rates than units, or fewer.
    """
    if isinstance(rates, Mapping):
        return rates
    if len(rates) != len(units):
        raise ValueError(f"the plan has {len(rates)} units, the model {len(units)}")
    return {name: rate for unit, rate in zip(units, rates, strict=True) for name in unit.parameters}


def freeze_others(parameters: Mapping[str, nn.Parameter], rates: Mapping[str, float]) -> set[str]:
    """Let parameters with a rate above 0 train, freeze the others, and drop all gradients.

    Returns:
        the names of the parameters that train.

    Raises:
        ValueError: a rate is for a parameter that the model does not have.
    """
    unknown = set(rates) - set(parameters)
    if unknown:
        raise ValueError(f"no parameter is called {min(unknown)!r}")
    for name, parameter in parameters.items():
        parameter.requires_grad_(rates.get(name, 0.0) > 0)
        parameter.grad = None
    return {name for name, parameter in parameters.items() if parameter.requires_grad}


def make_optimizer(
    parameters: Mapping[str, nn.Parameter],
    rates: Mapping[str, float],
    train: TrainConfig,
    weight_decay: float,
) -> torch.optim.Optimizer | None:
    """An optimizer with one parameter group for each rate above 0; None if there is none."""
    by_rate: dict[float, list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        if (rate := rates.get(name, 0.0)) > 0:
            by_rate.setdefault(rate, []).append(parameter)
    groups = [{"params": tensors, "lr": rate} for rate, tensors in by_rate.items()]
    if not groups:
        return None
    if train.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=train.momentum, weight_decay=weight_decay)
    # Fused AdamW passes over the weights once, not seven times. SGD gains nothing by it.
    return torch.optim.AdamW(groups, weight_decay=weight_decay, fused=True)


def make_lr_scheduler(
    optimizer: torch.optim.Optimizer, train: TrainConfig, steps: int, done: int
) -> LambdaLR:
    """The schedule that `train` names, for all groups.

    Args:
        steps: steps of the whole run.
        done: steps that other optimizers of the run have taken.
    """

    def factor(step: int) -> float:
        if train.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * (done + step) / steps))

    return LambdaLR(optimizer, factor)
