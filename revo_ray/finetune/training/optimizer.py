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
    weight_decay: float,
    train: TrainConfig,
    steps: int,
    done: int,
) -> LambdaLR | None:
    """An optimizer, with the schedule that `train` names; None if no rate is above 0.

    It has one parameter group for each rate.

    Args:
        weight_decay: L2 penalty (SGD) or decoupled decay (AdamW).
        steps: steps of an epoch.
        done: steps that other optimizers of the run have taken.
    """
    by_rate: dict[float, list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        if (rate := rates.get(name, 0.0)) > 0:
            by_rate.setdefault(rate, []).append(parameter)
    groups = [{"params": tensors, "lr": rate} for rate, tensors in by_rate.items()]
    if not groups:
        return None
    optimizer: torch.optim.Optimizer
    if train.optimizer == "sgd":
        optimizer = torch.optim.SGD(groups, momentum=train.momentum, weight_decay=weight_decay)
    else:  # fused, it passes over the weights once, not seven times; SGD gains nothing by it
        optimizer = torch.optim.AdamW(groups, weight_decay=weight_decay, fused=True)

    def factor(step: int) -> float:
        if train.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * (done + step) / (steps * train.epochs)))

    return LambdaLR(optimizer, factor)
