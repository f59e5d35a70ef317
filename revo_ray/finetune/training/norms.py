"""The modes of frozen units, and precise statistics of BatchNorm.

A frozen unit computes in eval mode: its norms keep their statistics, and its dropout and stochastic
depth draw nothing.

Running averages reach back some ten steps, each with other weights. After a fine-tuning of a few
dozen steps they are far from the statistics under the final weights. "Precise BN" (arXiv
2105.07576) computes those instead.

`torch.optim.swa_utils.update_bn` does so with the whole model in training mode: the norms of frozen
units would move, and dropout would draw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from revo_ray.finetune.network.units import Unit


def frozen_modules(model: nn.Module, units: Iterable[Unit], trained: Set[str]) -> list[nn.Module]:
    """The modules of the units that hold none of the `trained` parameters."""
    return [
        model.get_submodule(module)
        for unit in units
        if trained.isdisjoint(unit.parameters)
        for module in unit.modules
    ]


def training_mode(model: nn.Module, frozen: Iterable[nn.Module]) -> None:
    """Set training mode, and eval mode for each frozen module, but not for those inside it."""
    model.train()
    for module in frozen:
        module.training = False


def eval_mode(model: nn.Module) -> None:
    """Set eval mode."""
    # Some attention layers cache in eval mode and drop that in .train() alone.
    model.train().eval()


def update_norms(
    model: nn.Module,
    frozen: Iterable[nn.Module],
    parts: Iterable[Tensor],
    forward: Callable[[Tensor], object],
) -> None:
    """Replace running statistics by their mean over all parts, weighted by the parts' sizes.

    The counts of batches stay: no training step is made. The model is left in eval mode; nothing
    else in it is random or changes.

    Args:
        frozen: modules whose statistics stay.
        parts: arguments of `forward`, of lengths (B,).
    """
    eval_mode(model)
    still = set(frozen)
    every = (module for module in model.modules() if isinstance(module, _BatchNorm))
    norms = [norm for norm in every if norm.track_running_stats and norm not in still]
    momenta = [norm.momentum for norm in norms]
    counts = [
        (count, count.clone()) for norm in norms if (count := norm.num_batches_tracked) is not None
    ]
    seen = 0
    try:
        with torch.no_grad():
            for part in parts if norms else ():
                seen += len(part)
                for norm in norms:
                    # The first part has momentum 1, which forgets all that was before.
                    norm.training, norm.momentum = True, len(part) / seen
                forward(part)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.training, norm.momentum = False, momentum
        for count, before in counts:
            count.copy_(before)
