"""Pretrained weights on every machine of a cluster: the driver reads them, the others copy them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping

import torch
from torch import Tensor

from revo_ray.data.shared_files import SharedFile, making_folder, share
from revo_ray.data.table.disk import replacing, sweep
from revo_ray.storage import Storage

WEIGHTS = ".weights"
"""Their folder in a storage."""


def share_weights(tensors: Mapping[str, Tensor], storage: Storage) -> SharedFile:
    """Write what a network was filled with where the other machines find it, as a weights file.

    The file's name is its checksum, and equal tensors make an equal file, so it is written once.

    Args:
        tensors: `Backbone.loaded`.
        storage: one that all machines reach.

    Raises:
        OSError: the storage is full or unreachable.
    """
    content = io.BytesIO()
    torch.save(tensors, content)  # keeps the versions of modules, which safetensors cannot
    sha256 = hashlib.sha256(content.getbuffer()).hexdigest()
    path = making_folder(storage, WEIGHTS) / f"{sha256}.pth"
    if not path.exists() or path.stat().st_size != content.getbuffer().nbytes:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        with replacing(path) as temporary:
            temporary.write_bytes(content.getbuffer())
    return share("weights file", path, sha256, storage, f"{WEIGHTS}/{path.name}")
