"""From learning rates to an optimizer: who trains, parameter groups, schedule."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatch

import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_
from torch.optim.lr_scheduler import LambdaLR

from revo_ray.finetune.network.units import Unit
from revo_ray.finetune.plan import Rates
from revo_ray.settings.schema import TrainConfig

BETA1, BETA2 = 0.9, 0.999
"""AdamW's own values. `train.momentum` is SGD's alone; a plan may set β₁."""


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


def undecayed(model: nn.Module) -> set[str]:
    """The names of the parameters that weight decay leaves out unless `train.decay_all` is true.

    They are biases and other vectors, norms among them, and what `model.no_weight_decay()` names:
    the rule of `timm.optim.param_groups_weight_decay`.
    """
    named: Collection[str] = getattr(model, "no_weight_decay", tuple)()
    return {
        name
        for name, parameter in model.named_parameters()
        if parameter.ndim <= 1
        or name.endswith(".bias")
        or any(fnmatch(name, pattern) for pattern in named)
    }


def make_optimizer(
    parameters: Mapping[str, nn.Parameter],
    rates: Mapping[str, float],
    weight_decay: float,
    train: TrainConfig,
    steps: int,
    done: int,
    *,
    left_out: Collection[str] = (),
    beta1: float = BETA1,
) -> LambdaLR | None:
    """An optimizer, with the schedule that `train` names; None if no rate is above 0.

    It has one parameter group for each rate, or two where weight decay leaves parameters out. If
    `train.clip_norm` is set, it clips the gradient before each step.

    Args:
        weight_decay: L2 penalty (SGD) or decoupled decay (AdamW).
        steps: steps of an epoch.
        done: steps that other optimizers of the run have taken.
        left_out: names of the parameters without weight decay.
        beta1: of AdamW.
    """
    grouped: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        if (rate := rates.get(name, 0.0)) > 0:
            decay = 0.0 if name in left_out else weight_decay
            grouped.setdefault((rate, decay), []).append(parameter)
    groups = [
        {"params": tensors, "lr": rate, "weight_decay": decay}
        for (rate, decay), tensors in grouped.items()
    ]
    if not groups:
        return None
    optimizer: torch.optim.Optimizer
    if train.optimizer == "sgd":
        optimizer = torch.optim.SGD(groups, momentum=train.momentum)
    else:  # fused, it passes over the weights once, not seven times; SGD gains nothing by it
        optimizer = torch.optim.AdamW(groups, betas=(beta1, BETA2), fused=True)
    if (limit := train.clip_norm) is not None:
        # In the model's order, not the groups': the order decides how the norm is rounded.
        every = [p for name, p in parameters.items() if rates.get(name, 0.0) > 0]

        def clip(*_: object) -> None:
            clip_grad_norm_(every, limit)

        optimizer.register_step_pre_hook(clip)
    total = steps * train.epochs
    warmup = min(round(steps * train.warmup_epochs), total - 1)

    def factor(step: int) -> float:
        if done + step < warmup:
            return (done + step + 1) / (warmup + 1)
        if train.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * (done + step - warmup) / (total - warmup)))

    return LambdaLR(optimizer, factor)
