"""Errors that say that memory ran out."""

from __future__ import annotations

from typing import Literal

from revo_ray.errors import UserError

Memory = Literal["device", "machine"]
"""Memory that ran out: a GPU's, or a machine's."""

_LACKS_MEMORY = (
    *("out of memory", "ALLOC_FAILED", "ALLOCATION_FAILED"),
    "unable to find an engine to execute this computation",  # cuDNN, without room for any
)


class StepMemoryError(UserError):
    """A training step needs more memory than there is.

    Args:
        images: number of its images.
        size: their side in pixels.
    """

    def __init__(self, images: int, size: int) -> None:
        super().__init__(
            f"memory ran out in a training step on {images:,} images of {size} px; lower "
            f"train.batch_size ({images}) or data.image_size ({size})",
            key="train.batch_size",
        )
        self.images, self.size = images, size


def exhausted_memory(error: BaseException) -> Memory | None:
    """The memory that ran out, which may suffice the next time; None if the error is another one.

    torch has no class of its own for the machine's memory, nor for that of a GPU which does not
    hold a process's context or cuBLAS's workspace.
    """
    import torch

    text = str(error) if isinstance(error, RuntimeError) else ""
    lacks = any(words in text for words in _LACKS_MEMORY)
    if isinstance(error, torch.OutOfMemoryError) or (lacks and ("CUDA" in text or "cuDNN" in text)):
        return "device"
    return "machine" if isinstance(error, MemoryError) or "allocate memory" in text else None
