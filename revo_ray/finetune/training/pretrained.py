"""The pretrained state of a model, to go back to before each run."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import torch
from torch import nn


class PretrainedState:
    """Copies of a model's parameters and buffers, also of buffers that no state dict holds."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._parameters = dict(model.named_parameters())
        self._copies = {
            name: tensor.detach().clone()
            for name, tensor in chain(self._parameters.items(), model.named_buffers())
        }
        self._versions = {name: t._version for name, t in self._parameters.items()}
        self._trained: set[str] = set()

    def will_train(self, names: Iterable[str]) -> None:
        """Note the parameters that an optimizer gets; fused optimizers count no versions up."""
        self._trained.update(names)

    def restore(self) -> None:
        """Copy the pretrained values back into parameters that changed, and into all buffers."""
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                if name in self._trained or parameter._version != self._versions[name]:
                    parameter.copy_(self._copies[name])
                    self._versions[name] = parameter._version
        self._trained.clear()
        self.restore_buffers()

    def restore_buffers(self) -> None:
        """Copy the pretrained values back into all buffers; BatchNorm counts no versions up."""
        with torch.no_grad():
            for name, buffer in self._model.named_buffers():
                buffer.copy_(self._copies[name])
