"""The state that each run of a `FineTuner` starts from: pretrained weights and random numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn


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


class RandomState:
    """Three streams of random numbers, all set by one seed.

    Attributes:
        order: generator of the order of the training images, on the CPU.
        augmentation: generator of the augmentation, on the CPU.
        gpus: GPUs that random numbers are drawn on, the device at most.

    Dropout and stochastic depth use the third stream, by torch's global state: see `lent`.

    Args:
        device: the device of the model.
    """

    def __init__(self, device: torch.device) -> None:
        self.order = torch.Generator()
        self.augmentation = torch.Generator()
        self.gpus = [device] if device.type == "cuda" else []
        self._states: list[Tensor] = []

    def seed(self, seed: int) -> None:
        """Start all streams anew."""
        self.order.manual_seed(seed)
        self.augmentation.manual_seed(seed + 1)
        self._states = [
            torch.Generator(device).manual_seed(seed).get_state()
            for device in (torch.device("cpu"), *self.gpus)
        ]

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Make the third stream torch's global state inside the block."""
        with torch.random.fork_rng(self.gpus):
            torch.set_rng_state(self._states[0])
            for device, state in zip(self.gpus, self._states[1:], strict=True):
                torch.cuda.set_rng_state(state, device)
            yield
            self._states = [torch.get_rng_state(), *map(torch.cuda.get_rng_state, self.gpus)]
