"""An estimate of the GPU memory that an evaluation needs, made on a CPU."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from revo_ray.settings.schema import TrainConfig

CONTEXT = 500_000_000
"""Bytes of a process's CUDA context, kernels and libraries: about, it depends on the GPU."""

TRIED = (2, 4)
"""Images of the two passes that are measured. A BatchNorm cannot train on one."""


@dataclass(frozen=True)
class GpuMemory:
    """Bytes that an evaluation needs in which every unit trains.

    Attributes:
        weights: parameters and buffers with their pretrained copies, gradients, state of the
            optimizer, moving average.
        activations: tensors that a batch leaves for its backward pass, with the largest one and its
            gradient; or those of a batch of validation images, if these are more.
        features: cached features of frozen units, at most.
        images: the training and validation images, if they stay on the GPU.
        context: CUDA's own.
    """

    weights: int
    activations: int
    features: int
    images: int
    context: int = CONTEXT

    @property
    def total(self) -> int:
        """Their sum."""
        return self.weights + self.activations + self.features + self.images + self.context


def estimate_gpu_memory(
    model: nn.Module, train: TrainConfig, image: Sequence[int], room: int, images: int
) -> GpuMemory:
    """Estimate the GPU memory of an evaluation. The model is not changed.

    Activations grow with the batch by equal steps, so two small batches tell those of a large one.
    The pieces that torch's allocator cannot use, and workspaces of cuDNN, are not counted.

    Args:
        model: the network, on the CPU.
        train: the settings; `optimizer`, `momentum`, `ema`, `batch_size`, `precision` and
            `cache_mb` matter.
        image: shape of an image (3, S, S).
        room: images of a validation batch.
        images: bytes of the images that stay on the GPU.
    """
    parameters, buffers = nbytes(model.parameters()), nbytes(model.buffers())
    states = 2 if train.optimizer == "adamw" else int(train.momentum > 0)
    averages = 2 if train.ema is not None else 0  # the average, and the weights while it is in
    weights = 2 * (parameters + buffers) + (1 + states + averages) * parameters
    few, more = (_kept(model, torch.zeros(n, *image), train.precision) for n in TRIED)
    # Tensors that do not grow are statistics, and bf16 copies of the weights.
    grown = [(b - a) / (TRIED[1] - TRIED[0]) for a, b in zip(few, more, strict=False)]
    each, largest = sum(grown), max(grown, default=0.0)
    fixed = sum(few) - TRIED[0] * each
    training = fixed + train.batch_size * (each + 2 * largest)
    activations = max(training, room * 3 * largest)  # a layer's input, output and a shortcut
    return GpuMemory(weights, round(activations), train.cache_mb * 2**20, images)


def nbytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of tensors."""
    return sum(tensor.nbytes for tensor in tensors)


def _kept(model: nn.Module, images: Tensor, precision: str) -> list[int]:
    """Bytes of each tensor that a forward pass on images (B, 3, S, S) keeps for the backward."""
    model = copy.deepcopy(model).train()
    own = {
        tensor.untyped_storage().data_ptr() for tensor in chain(model.parameters(), model.buffers())
    }
    storages: dict[int, torch.UntypedStorage] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()  # lives as long as it is held here: no address is reused
        if storage.data_ptr() not in own:
            storages[storage.data_ptr()] = storage
        return tensor

    for parameter in model.parameters():
        parameter.requires_grad_(True)
    with (
        torch.random.fork_rng([]),
        torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"),
        saved_tensors_hooks(note, lambda tensor: tensor),
    ):
        logits = model(images)
        nn.functional.cross_entropy(logits.float(), torch.zeros(len(images), dtype=torch.long))
    return [storage.nbytes() for storage in storages.values()]
