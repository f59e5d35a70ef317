"""From learning rates to an optimizer: who trains, at which rate, on which schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from fnmatch import fnmatch

from torch import nn

from revo_ray.finetune.network.units import Unit
from revo_ray.finetune.plan import Rates
from revo_ray.finetune.training.layerwise import BETA1, LayerwiseOptimizer
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
) -> LayerwiseOptimizer | None:
    """The optimizer that `train` names, with its schedule; None if no rate is above 0.

    Args:
        parameters: parameters of the model in its order, by name.
        rates: learning rates by name; a parameter without one, or at 0, does not train.
        weight_decay: L2 penalty (SGD) or decoupled decay (AdamW).
        steps: steps of an epoch.
        done: steps that other optimizers of the run have taken.
        left_out: names of the parameters without weight decay.
        beta1: of AdamW.
    """
    named = [name for name in parameters if rates.get(name, 0.0) > 0]
    if not named:
        return None
    return LayerwiseOptimizer(
        [parameters[name] for name in named],
        [rates[name] for name in named],
        [0.0 if name in left_out else weight_decay for name in named],
        kind=train.optimizer,
        factor=_schedule(train, steps, done),
        momentum=train.momentum if train.optimizer == "sgd" else beta1,
        clip_norm=train.clip_norm,
    )


def _schedule(train: TrainConfig, steps: int, done: int) -> Callable[[int], float]:
    """The factor of all rates at a step, counted from 0 without the `done` ones."""
    total = steps * train.epochs
    warmup = min(round(steps * train.warmup_epochs), total - 1)

    def factor(step: int) -> float:
        if done + step < warmup:
            return (done + step + 1) / (warmup + 1)
        if train.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * (done + step - warmup) / (total - warmup)))

    return factor
