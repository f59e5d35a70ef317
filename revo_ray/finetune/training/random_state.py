"""Random numbers of one fine-tuning, apart from those that the rest of the process draws."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


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
