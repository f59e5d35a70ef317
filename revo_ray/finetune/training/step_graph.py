"""Forward and backward pass of a batch as a CUDA graph: one launch in place of some hundred."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor], Tensor]
"""Normalised images (B, 3, S, S) and their labels, (B,) or (B, C), to the mean loss ()."""

WARM_UP = 3
"""Steps before a capture, in which cuDNN and cuBLAS take their memory."""


class StepGraphs:
    """Graphs of a model that trains whole, one for each shape of a batch.

    A graph holds no rate and no weight, only where the weights are. So one capture serves every
    plan of a worker's life. A shape is captured when it is first met, and its graph is compared
    with the plain pass then. If a bit differs, the model draws random numbers, or CUDA refuses
    the capture, batches of that shape take the plain pass for good.

    Args:
        model: on a GPU. Its parameters and buffers must stay where they are.
        loss: the mean loss of a batch.
    """

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        self._model, self._loss = model, loss
        self._graphs: dict[Hashable, _Graph | None] = {}
        # Graphs run one after the other, so they share their memory.
        self._pool: Any = None
        self._stream: torch.cuda.Stream | None = None

    def set_gradients(self, images: Tensor, labels: Tensor, settings: Hashable) -> Tensor:
        """Set the gradients of a batch, and return its mean loss ().

        Args:
            settings: whatever else the loss depends on.
        """
        key = (images.shape, images.dtype, labels.shape, labels.dtype, settings)
        if key not in self._graphs:
            self._graphs[key] = self._capture(images, labels)
        graph = self._graphs[key]
        return self._plain(images, labels) if graph is None else graph.replay(images, labels)

    @property
    def active(self) -> bool:
        """Whether a shape that was met has a graph."""
        return any(self._graphs.values())

    def _plain(self, images: Tensor, labels: Tensor) -> Tensor:
        for parameter in self._model.parameters():
            parameter.grad = None
        loss = self._loss(images, labels)
        loss.backward()
        return loss.detach()

    def _capture(self, images: Tensor, labels: Tensor) -> _Graph | None:
        device = images.device
        random = torch.get_rng_state(), torch.cuda.get_rng_state(device)
        with self._same_buffers():
            expected = [self._plain(images, labels), *self._changed()]
        drawn = torch.get_rng_state(), torch.cuda.get_rng_state(device)
        if not all(map(torch.equal, random, drawn)):
            torch.set_rng_state(random[0])
            torch.cuda.set_rng_state(random[1], device)
            return None
        images, labels = images.clone(), labels.clone()
        usual = torch.cuda.current_stream(device)
        self._stream = self._stream or torch.cuda.Stream(device)
        captured = torch.cuda.CUDAGraph()
        try:
            # A refused capture leaves its stream behind as the current one: this takes it away.
            with self._same_buffers(), torch.cuda.stream(usual):
                self._stream.wait_stream(usual)
                with torch.cuda.stream(self._stream):
                    for _ in range(WARM_UP):
                        self._plain(images, labels)
                usual.wait_stream(self._stream)
                with torch.cuda.graph(captured, pool=self._pool, stream=self._stream):
                    loss = self._plain(images, labels)
            own = {p: p.grad for p in self._model.parameters() if p.grad is not None}
            graph = _Graph(captured, images, labels, loss, own)
            with self._same_buffers():
                found = [graph.replay(images, labels), *self._changed()]
        except RuntimeError:
            return None
        self._pool = captured.pool()
        same = len(found) == len(expected) and all(map(torch.equal, found, expected))
        return graph if same else None

    def _changed(self) -> Iterator[Tensor]:
        """Copies of all that a pass writes, gradients and buffers."""
        for parameter in self._model.parameters():
            if parameter.grad is not None:
                yield parameter.grad.clone()
        for buffer in self._model.buffers():
            yield buffer.clone()

    @contextmanager
    def _same_buffers(self) -> Iterator[None]:
        """Put the statistics of norms back after the block."""
        kept = [(buffer, buffer.clone()) for buffer in self._model.buffers()]
        try:
            yield
        finally:
            with torch.no_grad():
                for buffer, before in kept:
                    buffer.copy_(before)


@dataclass(frozen=True)
class _Graph:
    """A captured pass, with the memory that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    images: Tensor
    labels: Tensor
    loss: Tensor
    gradients: dict[nn.Parameter, Tensor]

    def replay(self, images: Tensor, labels: Tensor) -> Tensor:
        self.images.copy_(images)
        self.labels.copy_(labels)
        self.graph.replay()
        for parameter, gradient in self.gradients.items():
            parameter.grad = gradient
        return self.loss
