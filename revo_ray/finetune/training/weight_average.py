"""Moving average of the weights of a run, which validation and the best model use."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class WeightAverage:
    """Exponential moving average of parameters over steps, by torch's `AveragedModel`.

    It begins with the weights after the first step. Buffers are left alone: statistics of BatchNorm
    under the average are for the caller to compute.

    Args:
        parameters: parameters of the model; those that no step changes stay as they are.
        decay: weight of the average at each step, below 1. None: there is no average, and no method
            does anything.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], decay: float | None) -> None:
        self._trained = nn.ParameterList(parameters if decay is not None else ())
        self._average: AveragedModel | None = None
        if decay is not None and len(self._trained):
            update = get_ema_multi_avg_fn(decay)
            self._average = AveragedModel(self._trained, multi_avg_fn=update)
        self._kept: list[Tensor] = []

    def update(self) -> None:
        """Take the parameters after a step into the average."""
        if self._average is not None:
            self._average.update_parameters(self._trained)

    def put_in(self) -> None:
        """Give the model the averaged weights, and keep those that train."""
        if self._average is not None:
            self._kept = [parameter.detach().clone() for parameter in self._trained]
            self._copy(self._average.module.parameters())

    def take_out(self) -> bool:
        """Give the model the weights back that train; whether the average was in."""
        was_in = bool(self._kept)
        if was_in:
            self._copy(self._kept)
            self._kept = []
        return was_in

    def _copy(self, weights: Iterable[Tensor]) -> None:
        with torch.no_grad():
            for parameter, weight in zip(self._trained, weights, strict=True):
                parameter.copy_(weight)
