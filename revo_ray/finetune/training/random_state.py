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

    The third stream is for dropout and stochastic depth, which draw from torch's global state: see
    `lent`.

    Args:
        device: the device of the model.
    """

    def __init__(self, device: torch.device) -> None:
        self.order = torch.Generator()
        self.augmentation = torch.Generator()
        self._gpus = [device] if device.type == "cuda" else []
        self._states: list[Tensor] = []

    def seed(self, seed: int) -> None:
        """Start all streams anew."""
        self.order.manual_seed(seed)
        self.augmentation.manual_seed(seed + 1)
        self._states = [
            torch.Generator(device).manual_seed(seed).get_state()
            for device in (torch.device("cpu"), *self._gpus)
        ]

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Make the third stream torch's global state inside the block."""
        with self.global_state_kept():
            torch.set_rng_state(self._states[0])
            for device, state in zip(self._gpus, self._states[1:], strict=True):
                torch.cuda.set_rng_state(state, device)
            yield
            self._states = [torch.get_rng_state(), *map(torch.cuda.get_rng_state, self._gpus)]

    @contextmanager
    def global_state_kept(self) -> Iterator[None]:
        """Put torch's global state back after the block."""
        with torch.random.fork_rng(self._gpus):
            yield
