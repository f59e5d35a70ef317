"""BatchNorm's statistics under the final weights ("precise BN", arXiv 2105.07576).

Running averages reach back some ten steps, each with other weights. Where a fine-tuning has only a
few dozen, they are far from what the network's last weights give.

`torch.optim.swa_utils.update_bn` does the like, but with the whole model in training mode: norms of
frozen units would move, and dropout would draw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def norms_in_training(model: nn.Module) -> list[_BatchNorm]:
    """The norms with running statistics that are in training mode."""
    return [
        module
        for module in model.modules()
        if isinstance(module, _BatchNorm) and module.training and module.track_running_stats
    ]


def take_statistics(
    norms: Sequence[_BatchNorm], parts: Sequence[Tensor], forward: Callable[[Tensor], object]
) -> None:
    """Replace running statistics by their mean over all parts, each by its size.

    The count of batches stays: these are no steps of training.

    Args:
        norms: of a model in eval mode, so that nothing else is random or changes.
        parts: what `forward` takes, of lengths (B,).
    """
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
                    norm.training, norm.momentum = True, len(part) / seen  # 1 at first: forget
                forward(part)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.training, norm.momentum = False, momentum
        for count, before in counts:
            count.copy_(before)
